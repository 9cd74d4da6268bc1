import test from 'ava';
import { importsOf, linesWith, strip } from '../../tidy/source.ts';

test('comments, strings, templates and patterns are blanked; code, lines and columns stay', (t) => {
  const source = [
    "const a = 'x // y'; // Date",
    'const b = `t ${f({ c: `n ${Date}` })} Math`; /* two',
    'lines */ const c = 4 / 2 / d; // e',
    String.raw`const p = /a'[/"]\/b/.test(q); const r = "s\"t";`,
    'call(/Date/g, 1)',
  ].join('\n');
  const { code, codeWithStrings } = strip(source);
  t.is(code.length, source.length);
  t.is(codeWithStrings.length, source.length);
  t.deepEqual(
    code.split('\n').map((line) => line.replaceAll(/ +/g, ' ').trim()),
    [
      "const a = ' ';",
      'const b = ` ${f({ c: ` ${Date}` })} `;',
      'const c = 4 / 2 / d;',
      'const p = / /.test(q); const r = " ";',
      'call(/ /g, 1)',
    ],
  );
  t.true(codeWithStrings.includes("'x // y'"));
  t.false(codeWithStrings.includes('// e'));
});

test('all forms of imports are found', (t) => {
  const found = importsOf('test/unit/tidy/imports.fixture.ts').map(({ specifier, path, kind }) => [
    kind,
    specifier,
    path,
  ]);
  t.deepEqual(found.toSorted(), [
    ['dynamic', '../../tidy/source.ts', 'test/tidy/source.ts'],
    ['static', '../../tidy/source.ts', 'test/tidy/source.ts'],
    ['static', 'node:fs', null],
    ['static', 'node:path', null],
    ['type', '../../tidy/source.ts', 'test/tidy/source.ts'],
    ['url', './source.test.ts', 'test/unit/tidy/source.test.ts'],
  ]);
});

test('lines are counted from one', (t) => {
  t.deepEqual(linesWith('a\nb\nab', /a/), [1, 3]);
});
