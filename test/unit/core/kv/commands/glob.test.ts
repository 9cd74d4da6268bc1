import test from 'ava';
import * as fc from 'fast-check';
import { globMatches, literalPrefixBytes } from '../../../../../src/core/kv/commands/glob.ts';

function matches(pattern: string, text: string): boolean {
  // Between other bytes, so that a step over an edge is seen.
  const patternBytes = Buffer.from(`*]${pattern}*]`, 'latin1');
  const textBytes = Buffer.from(`ab${text}ab`, 'latin1');
  return globMatches(patternBytes, 2, patternBytes.length - 2, textBytes, 2, textBytes.length - 2);
}

test('patterns match as in the manual of KEYS', (t) => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['h?llo', 'hello', true],
    ['h?llo', 'hllo', false],
    ['h*llo', 'hllo', true],
    ['h*llo', 'heeeello', true],
    ['h[ae]llo', 'hallo', true],
    ['h[ae]llo', 'hillo', false],
    ['h[^e]llo', 'hallo', true],
    ['h[^e]llo', 'hello', false],
    ['h[a-b]llo', 'hbllo', true],
    ['h[b-a]llo', 'hallo', true],
    ['h\\*llo', 'h*llo', true],
    ['h\\*llo', 'hello', false],
    ['[\\]]', ']', true],
    ['[a', 'a', true],
    ['[^', 'x', true],
    ['[', '[', false],
    ['a\\', 'a\\', true],
    ['*', '', true],
    ['', '', true],
    ['', 'a', false],
    ['user:*:name', 'user:1:2:name', true],
    ['user:*:name', 'user:1:2:names', false],
  ];
  for (const [pattern, text, expected] of cases) t.is(matches(pattern, text), expected, `${pattern} ${text}`);
});

/** Elements of a pattern: what a byte must be, or null for a star. */
type Element = ((byte: string) => boolean) | null;

/** The slow way: every split of the text at every star. */
function matchesSlowly(elements: readonly Element[], text: string): boolean {
  const [first, ...rest] = elements;
  if (first === undefined) return text === '';
  if (first === null) {
    for (let i = 0; i <= text.length; i++) if (matchesSlowly(rest, text.slice(i))) return true;
    return false;
  }
  return text !== '' && first(text.charAt(0)) && matchesSlowly(rest, text.slice(1));
}

test('every pattern matches the texts that trying all ways matches', (t) => {
  const letter: fc.Arbitrary<string> = fc.constantFrom('a', 'b', 'c');
  const element: fc.Arbitrary<readonly [string, Element]> = fc.oneof(
    fc.constant(['*', null] as const),
    fc.constant(['?', () => true] as const),
    letter.map((one) => [one, (byte: string) => byte === one] as const),
    letter.map((one) => [`\\${one}`, (byte: string) => byte === one] as const),
    fc
      .array(letter, { minLength: 1, maxLength: 2 })
      .map((set) => [`[${set.join('')}]`, (byte: string) => set.includes(byte)] as const),
    letter.map((one) => [`[^${one}]`, (byte: string) => byte !== one] as const),
    letter.map((one) => [`[a-${one}]`, (byte: string) => byte >= 'a' && byte <= one] as const),
  );
  const text = fc.array(letter, { minLength: 1, maxLength: 8 }).map((letters) => letters.join(''));
  fc.assert(
    fc.property(fc.array(element, { maxLength: 6 }), text, (parts, one) => {
      const expected = matchesSlowly(
        parts.map(([, test]) => test),
        one,
      );
      t.is(matches(parts.map(([shown]) => shown).join(''), one), expected);
    }),
    { numRuns: 2000 },
  );
});

test('no pattern takes time beyond its length times that of the text (FAILURES 30)', (t) => {
  // Trying all ways would take longer than the universe has existed.
  t.false(matches(`${'a*'.repeat(50)}b`, 'a'.repeat(2000)));
  t.false(matches(`${'*a'.repeat(50)}*b`, 'a'.repeat(2000)));
  t.false(matches(`${'*[^b]'.repeat(50)}b`, 'a'.repeat(2000)));
});

function prefixOf(pattern: string): string {
  const bytes = Buffer.from(pattern);
  return pattern.slice(0, literalPrefixBytes(bytes, 0, bytes.length));
}

test('a text that matches begins with the literal prefix of the pattern', (t) => {
  t.deepEqual(['user:*', 'a?c', 'a[b]', 'a\\*', 'abc', '*', ''].map(prefixOf), ['user:', 'a', 'a', 'a', 'abc', '', '']);
});
