/** The checker on histories known to be good and known to be bad, and against every possible order of small ones. */
import test from 'ava';
import * as fc from 'fast-check';
import type { Operation } from '../../support/linearizability.ts';
import { checkLinearizable } from '../../support/linearizability.ts';

type Kind = Operation['kind'];

/** An operation on key k that is called and answered at these times; times[1] null: nobody knows its outcome. */
function op(kind: Kind, value: string | null, times: readonly [number, number | null], more?: Partial<Operation>) {
  const [invokedAt, returnedAt] = times;
  const outcome = returnedAt === null ? 'unknown' : 'ok';
  return { client: 1, key: 'k', kind, value, invokedAt, returnedAt, outcome, ...more } satisfies Operation;
}

const good: Record<string, readonly Operation[]> = {
  'nothing at all': [],
  'a read of what was never written': [op('read', null, [1, 2])],
  'a write, then a read of it': [op('write', 'a', [1, 2]), op('read', 'a', [3, 4])],
  'a read during a write sees the old value or the new': [
    op('write', 'a', [1, 2]),
    op('write', 'b', [3, 10]),
    op('read', 'a', [4, 5]),
    op('read', 'b', [6, 7]),
  ],
  'writes at one time may take effect in either order': [
    op('write', 'a', [1, 10]),
    op('write', 'b', [2, 9]),
    op('read', 'b', [11, 12]),
  ],
  'an operation that returned when another was called may follow it': [
    op('write', 'a', [5, 6]),
    op('read', null, [6, 7]),
  ],
  'an unknown write that applied late': [
    op('write', 'a', [1, 2]),
    op('write', 'b', [3, null]),
    op('read', 'a', [10, 11]),
    op('read', 'b', [20, 21]),
  ],
  'an unknown write that never applied': [
    op('write', 'a', [1, 2]),
    op('write', 'b', [3, null]),
    op('read', 'a', [10, 11]),
    op('read', 'a', [20, 21]),
  ],
  'an unknown delete that applied between two reads': [
    op('write', 'a', [1, 2]),
    op('delete', null, [3, null]),
    op('read', 'a', [4, 5]),
    op('read', null, [6, 7]),
  ],
  'a failed write is as if it had not been': [
    op('write', 'a', [1, 2], { outcome: 'failed' }),
    op('read', null, [3, 4]),
  ],
  'a read of unknown outcome says nothing': [op('read', 'z', [1, null])],
  'a compare-and-swap and one that found something else': [
    op('write', 'a', [1, 2]),
    op('cas', 'b', [3, 4], { expected: 'a' }),
    op('cas', 'c', [5, 6], { expected: 'a', swapped: false }),
    op('read', 'b', [7, 8]),
  ],
  'a delete that takes effect behind a write called before it returned': [
    op('delete', null, [1, 10]),
    op('write', 'a', [2, 3]),
    op('read', null, [11, 12]),
  ],
  'increments at one time, each counted once': [
    op('incr', '2', [1, 10]),
    op('incr', '1', [2, 9]),
    op('read', '2', [11, 12]),
  ],
  'an unknown increment that was counted': [op('incr', null, [1, null]), op('incr', '2', [2, 3])],
  'keys are judged each by itself': [
    op('write', 'a', [1, 2]),
    op('write', 'b', [1, 2], { key: 'l' }),
    op('read', 'a', [3, 4]),
    op('read', 'b', [3, 4], { key: 'l' }),
  ],
};

const bad: Record<string, readonly Operation[]> = {
  'a stale read': [op('write', 'a', [1, 2]), op('write', 'b', [3, 4]), op('read', 'a', [5, 6])],
  'a lost write': [op('write', 'a', [1, 2]), op('read', null, [3, 4])],
  'a read of what nobody wrote': [op('read', 'z', [1, 2])],
  'a read from the future': [op('read', 'a', [1, 2]), op('write', 'a', [3, 4])],
  'reads that go back in time during one write': [
    op('write', 'a', [1, 2]),
    op('write', 'b', [3, 10]),
    op('read', 'b', [4, 5]),
    op('read', 'a', [6, 7]),
  ],
  'an unknown write that took effect and was then undone': [
    op('write', 'a', [1, 2]),
    op('write', 'b', [3, null]),
    op('read', 'b', [4, 5]),
    op('read', 'a', [6, 7]),
  ],
  'an unknown write seen before it was called': [op('read', 'a', [1, 2]), op('write', 'a', [3, null])],
  'a failed write that was seen': [op('write', 'a', [1, 2], { outcome: 'failed' }), op('read', 'a', [3, 4])],
  'two that both won the same compare-and-swap': [
    op('cas', 'a', [1, 10], { expected: null }),
    op('cas', 'b', [2, 9], { expected: null }),
  ],
  'a compare-and-swap that did not find what was there': [
    op('write', 'a', [1, 2]),
    op('cas', 'b', [3, 4], { expected: 'a', swapped: false }),
  ],
  'a write applied twice: the value comes back': [
    op('write', 'a', [1, 2]),
    op('write', 'b', [3, 4]),
    op('read', 'b', [5, 6]),
    op('read', 'a', [7, 8]),
  ],
  'an increment counted twice': [op('incr', '1', [1, 2]), op('incr', '3', [3, 4])],
  'two increments that came to the same sum': [op('incr', '1', [1, 10]), op('incr', '1', [2, 9])],
  'a delete that did not hold': [op('write', 'a', [1, 2]), op('delete', null, [3, 4]), op('read', 'a', [5, 6])],
  'one bad key among good ones': [
    op('write', 'a', [1, 2], { key: 'good' }),
    op('read', 'a', [3, 4], { key: 'good' }),
    op('read', 'a', [3, 4]),
  ],
};

for (const [name, history] of Object.entries(good)) {
  test(`linearizable: ${name}`, (t) => {
    t.deepEqual(checkLinearizable(history), { ok: true });
  });
}

for (const [name, history] of Object.entries(bad)) {
  test(`not linearizable: ${name}`, (t) => {
    const verdict = checkLinearizable(history);
    t.like(verdict, { ok: false, key: 'k' });
    t.true(!verdict.ok && verdict.operations.length > 0);
  });
}

test('a refusal says what could not be explained', (t) => {
  const deleted = [op('delete', null, [0, 1]), op('write', 'a', [2, 3]), op('read', null, [4, 5], { client: 7 })];
  const verdict = checkLinearizable(deleted);
  t.regex(
    verdict.ok ? '' : verdict.explanation,
    /^key k: 2 of 3 operations .* leaves "a",.* client 7 read null \[4, 5\]$/,
  );
  const lost = checkLinearizable([op('write', 'a', [1, 2]), op('read', null, [3, 4], { client: 7 })]);
  t.regex(lost.ok ? '' : lost.explanation, /^key k: .*client 7 read null \[3, 4\]/);
});

/** What one operation makes of the register, by the plainest reading of the words; undefined: its answer would be wrong. */
function outcomeOf(state: string | null, { kind, value, expected, swapped, outcome }: Operation) {
  const isKnown = outcome === 'ok';
  if (kind === 'read') return state === value ? state : undefined;
  if (kind === 'write') return value;
  if (kind === 'delete') return null;
  if (kind === 'incr') {
    const sum = String(Number(state ?? 0) + 1);
    return !isKnown || sum === value ? sum : undefined;
  }
  const matches = state === (expected ?? null);
  if (isKnown && matches !== swapped) return undefined;
  return matches ? value : state;
}

/** Every order, with and without each unknown operation. */
function isExplainable(state: string | null, left: readonly Operation[]): boolean {
  if (left.every(({ outcome }) => outcome !== 'ok')) return true;
  return left.some((first) => {
    const rest = left.filter((other) => other !== first);
    const isMinimal = rest.every(({ returnedAt }) => returnedAt === null || returnedAt >= first.invokedAt);
    if (!isMinimal) return false;
    const next = outcomeOf(state, first);
    return next !== undefined && isExplainable(next, rest);
  });
}

const value = fc.constantFrom('1', '2', '3');
const operation = fc
  .record({
    client: fc.nat(2),
    key: fc.constant('k'),
    kind: fc.constantFrom<Kind>('read', 'read', 'write', 'delete', 'cas', 'incr'),
    value: fc.option(value, { freq: 4 }),
    expected: fc.option(value, { freq: 4 }),
    swapped: fc.boolean(),
    invokedAt: fc.nat(12),
    lasts: fc.nat(6),
    outcome: fc.constantFrom<Operation['outcome']>('ok', 'ok', 'ok', 'unknown', 'failed'),
  })
  .map(({ lasts, ...fields }): Operation => {
    const isOver = fields.outcome !== 'unknown';
    return {
      ...fields,
      value: fields.value ?? (fields.kind === 'write' ? '1' : null),
      returnedAt: isOver ? fields.invokedAt + lasts : null,
    };
  });

/** Numbers the written values, so that each is written once and reads may still hit them. */
function withUniqueWrites(history: readonly Operation[]): Operation[] {
  let written = 0;
  return history.map((each) => {
    const kind = each.kind === 'read' ? 'read' : 'write';
    return { ...each, kind, value: kind === 'write' ? String(++written) : each.value };
  });
}

for (const [name, shape] of [
  ['operations of all kinds', (history: readonly Operation[]) => history],
  ['reads, and writes of different values', withUniqueWrites],
] as const) {
  test(`the checker agrees with trying every order of a small history: ${name}`, (t) => {
    let bads = 0;
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 6 }), (any) => {
        const history = shape(any);
        const asked = history.filter(
          ({ outcome, kind }) => outcome === 'ok' || (outcome === 'unknown' && kind !== 'read'),
        );
        const isOk = isExplainable(null, asked);
        if (!isOk) bads++;
        return checkLinearizable(history).ok === isOk;
      }),
      { numRuns: 20_000 },
    );
    t.true(bads > 1000 && bads < 19_000, `${bads} of the histories were bad`);
  });
}

/** What `clients` clients see of a correct store: each operation takes effect at one moment between its call and its return. */
function honestHistory(clients: number, keys: number, count: number): Operation[] {
  let seed = 1;
  const below = (bound: number): number => (seed = (seed * 48_271) % 0x7fffffff) % bound;
  const stored = new Map<string, string | null>();
  const history: Operation[] = [];
  for (let i = 0; i < count; i++) {
    const key = `k${below(keys)}`;
    const kind = below(2) === 0 ? 'read' : 'write';
    const isUnknown = kind === 'write' && below(50) === 0;
    if (kind === 'write' && !(isUnknown && below(2) === 0)) stored.set(key, `v${i}`);
    const seen = kind === 'read' ? (stored.get(key) ?? null) : `v${i}`;
    const [before, after] = [below(clients * 10), below(clients * 10)];
    history.push({
      client: i % clients,
      key,
      kind,
      value: seen,
      invokedAt: i * 10 - before,
      returnedAt: isUnknown ? null : i * 10 + after,
      outcome: isUnknown ? 'unknown' : 'ok',
    });
  }
  return history;
}

test('tens of thousands of operations are judged, over many keys and on one', (t) => {
  for (const keys of [1000, 10, 1]) {
    const history = honestHistory(16, keys, 30_000);
    t.deepEqual(checkLinearizable(history), { ok: true });
    // One read in the middle that brings back what was long overwritten.
    const old = history.find(({ kind, outcome }) => kind === 'write' && outcome === 'ok') as Operation;
    const at = history.findLastIndex(({ kind, key }) => kind === 'read' && key === old.key);
    const spoiled = history.map((each, i) => (i === at ? { ...each, value: old.value } : each));
    t.false(checkLinearizable(spoiled).ok);
  }
});
