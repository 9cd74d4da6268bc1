import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { generateDocs } from '../../../ops/generate-docs.ts';
import { settingRows } from '../../../src/server/settings.ts';

for (const [path, content] of Object.entries(generateDocs())) {
  test(`${path} is up to date (node ops/generate-docs.ts writes it)`, (t) => {
    t.is(readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), 'utf8'), content);
  });
}

test('every setting, its flag, its variable and its default are in one row of the table', (t) => {
  const rows = (generateDocs()['docs/configuration.md'] ?? '')
    .split('\n')
    .map((line) => line.split(/ *\| */).slice(1, 5));
  for (const { path, flag, variable, setting } of settingRows) {
    const wanted = [`\`${path}\``, `\`${flag}\``, `\`${variable}\``, setting.defaultText];
    t.true(
      rows.some((cells) => cells.join() === wanted.join()),
      path,
    );
  }
});
