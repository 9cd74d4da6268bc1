/** list(): every entry once, in order, whatever the bounds, the pages and the splits on the way. */
import test from 'ava';
import type { ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { connect } from '../../../src/client/connect.ts';
import type { ListOptions, OpenOptions } from '../../../src/client/options.ts';
import type { Store } from '../../../src/client/store.ts';
import { SkerryError } from '../../../src/core/errors.ts';
import type { NativeHarness } from '../../support/native-harness.ts';
import { startNativeHarness } from '../../support/native-harness.ts';

async function setUp(
  t: ExecutionContext,
  splitAt: readonly string[],
  options: OpenOptions = {},
): Promise<{ harness: NativeHarness; kv: Store }> {
  const harness = await startNativeHarness({ splitAt });
  const kv = (await connect(`skerry://127.0.0.1:${harness.port}`, options)) as Store;
  t.teardown(async () => {
    await kv.close();
    await harness.stop();
  });
  return { harness, kv };
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

const keysOf = (kv: Store, options: ListOptions = {}): Promise<string[]> =>
  Array.fromAsync(kv.list({ ...options, as: 'text' }), ({ key }) => key);

test('bounds, prefix, limit, direction and cursor', async (t) => {
  const { kv } = await setUp(t, ['b', 'd']);
  for (const key of ['a', 'b', 'b1', 'b2', 'c', 'd', 'e']) await kv.set(key, `=${key}`);
  t.deepEqual(await keysOf(kv), ['a', 'b', 'b1', 'b2', 'c', 'd', 'e']);
  t.deepEqual(await keysOf(kv, { reverse: true }), ['e', 'd', 'c', 'b2', 'b1', 'b', 'a']);
  t.deepEqual(await keysOf(kv, { prefix: 'b' }), ['b', 'b1', 'b2']);
  t.deepEqual(await keysOf(kv, { prefix: 'b', reverse: true, limit: 2 }), ['b2', 'b1']);
  t.deepEqual(await keysOf(kv, { start: 'b1', end: 'd' }), ['b1', 'b2', 'c']);
  t.deepEqual(await keysOf(kv, { start: 'b1', end: 'd', reverse: true }), ['c', 'b2', 'b1']);
  t.deepEqual(await keysOf(kv, { cursor: 'b1', limit: 2 }), ['b2', 'c']);
  t.deepEqual(await keysOf(kv, { prefix: 'b', cursor: 'b1' }), ['b2']);
  t.deepEqual(await keysOf(kv, { cursor: 'b1', reverse: true }), ['b', 'a']);
  t.deepEqual(await keysOf(kv, { limit: 0 }), []);
  t.deepEqual(await keysOf(kv, { start: 'x' }), []);
  t.deepEqual(await keysOf(kv, { start: 'd', end: 'b' }), []);
  const entries = await Array.fromAsync(kv.list({ limit: 1 }));
  t.deepEqual(entries, [{ key: Buffer.from('a'), value: Buffer.from('=a') }]);
});

test('wrong options are refused at the first step', async (t) => {
  const { kv } = await setUp(t, []);
  for (const options of [
    { prefix: 'a', start: 'b' },
    { prefix: 'a', end: 'b' },
    { limit: -1 },
    { limit: 1.5 },
    { limit: Number.NaN },
  ]) {
    const error = await t.throwsAsync(keysOf(kv, options), { instanceOf: SkerryError });
    t.is(error?.code, 'KV_INVALID');
  }
});

test('a caller who has seen enough can stop, and an aborted one is told', async (t) => {
  const { kv } = await setUp(t, [], { pageEntries: 2 });
  for (let i = 0; i < 10; i++) await kv.set(`k${i}`, '1');
  const seen: string[] = [];
  for await (const { key } of kv.list({ as: 'text' })) {
    seen.push(key);
    if (seen.length === 3) break;
  }
  t.deepEqual(seen, ['k0', 'k1', 'k2']);
  const controller = new AbortController();
  const error = await t.throwsAsync(
    async () => {
      for await (const { key } of kv.list({ as: 'text', signal: controller.signal })) {
        if (key === 'k1') controller.abort();
      }
    },
    { instanceOf: SkerryError },
  );
  t.is(error?.code, 'KV_ABORTED');
});

test('FAILURES 25: nothing is dropped or repeated at the edges of ranges, or when ranges are cut on the way', async (t) => {
  const { harness, kv } = await setUp(t, [], { pageEntries: 3 });
  // Few letters and many prefixes, the largest byte among them: edges are met often.
  const letter = fc.constantFrom(0x00, 0x61, 0x62, 0xff);
  const key = fc.array(letter, { minLength: 1, maxLength: 3 }).map((bytes) => Buffer.from(bytes));
  const options = fc.record({
    bounds: fc.oneof(
      fc.record({ prefix: key }),
      fc.record({ start: fc.option(key, { nil: undefined }), end: fc.option(key, { nil: undefined }) }),
    ),
    reverse: fc.boolean(),
    limit: fc.option(fc.nat(12), { nil: undefined }),
    cursor: fc.option(key, { nil: undefined }),
  });
  const cuts = fc.array(fc.constantFrom('a', 'aa', 'ab', 'b', 'ba', 'bb'), { maxLength: 4 });
  const property = fc.asyncProperty(
    fc.uniqueArray(key, { maxLength: 30, selector: text }),
    options,
    fc.array(cuts, { minLength: 1, maxLength: 5 }),
    async (keys, { bounds, reverse, limit, cursor }, layouts) => {
      await kv.command('FLUSHALL');
      await Promise.all(keys.map((each) => kv.set(each, each)));
      const { prefix, start, end } = { prefix: undefined, start: undefined, end: undefined, ...bounds };
      const expected = keys
        .map(text)
        .sort()
        .filter((each) => prefix === undefined || each.startsWith(text(prefix)))
        .filter((each) => start === undefined || each >= text(start))
        .filter((each) => end === undefined || each < text(end))
        .filter((each) => cursor === undefined || (reverse ? each < text(cursor) : each > text(cursor)));
      if (reverse) expected.reverse();
      const seen: string[] = [];
      let step = 0;
      const layout = (): void => harness.cut([...new Set(layouts[step++ % layouts.length])].sort());
      layout();
      for await (const entry of kv.list({ ...bounds, reverse, limit, cursor })) {
        seen.push(text(entry.key));
        t.deepEqual(entry.value, entry.key);
        layout();
      }
      t.deepEqual(seen, expected.slice(0, limit));
    },
  );
  await fc.assert(property, { numRuns: 200 });
});
