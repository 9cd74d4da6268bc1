/** What several runs of the same thing say together. One run says nothing: the machine is noisier than most differences. */

export interface Spread {
  readonly count: number;
  readonly median: number;
  /** First and third quartile, interpolated between neighbours as R's type 7 does (Hyndman and Fan, 1996). */
  readonly lowerQuartile: number;
  readonly upperQuartile: number;
  readonly min: number;
  readonly max: number;
}

/** `values`: one or more. */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError('there is no spread of nothing');
  const sorted = values.toSorted((a, b) => a - b);
  return {
    count: sorted.length,
    median: quantile(sorted, 0.5),
    lowerQuartile: quantile(sorted, 0.25),
    upperQuartile: quantile(sorted, 0.75),
    min: sorted[0] as number,
    max: sorted.at(-1) as number,
  };
}

function quantile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share;
  const below = Math.floor(at);
  const lower = sorted[below] as number;
  const upper = sorted[Math.min(below + 1, sorted.length - 1)] as number;
  return lower + (upper - lower) * (at - below);
}

/** Numbers of two subjects, measured in turns. */
export interface Pair<Measured> {
  readonly ours: Measured;
  readonly theirs: Measured;
}

/**
 * Measures in turns, ours, theirs, ours, theirs …, so that what the machine does meanwhile meets both. Tells `onPair` of
 * each pair when it is complete.
 */
export async function alternate<Measured>(
  pairs: number,
  ours: () => Promise<Measured>,
  theirs: () => Promise<Measured>,
  onPair: (pair: Pair<Measured>, number: number) => void,
): Promise<Pair<Measured>[]> {
  const all: Pair<Measured>[] = [];
  for (let i = 0; i < pairs; i++) {
    // oxlint-disable-next-line no-await-in-loop
    const pair = { ours: await ours(), theirs: await theirs() };
    onPair(pair, i + 1);
    all.push(pair);
  }
  return all;
}

/** The spread of the pairs' own ratios, ours to theirs: what disturbed both at one time falls out. */
export function ratioOf<Measured>(pairs: readonly Pair<Measured>[], number: (measured: Measured) => number): Spread {
  return spreadOf(pairs.map(({ ours, theirs }) => number(ours) / number(theirs)));
}

/**
 * The longest time between two neighbours of `times`, which are in order, that lies between the two moments at least in part. When
 * nothing came after `untilMs`, nobody knows for how long nothing would have: it counts up to there.
 */
export function longestGapMs(times: readonly number[], fromMs: number, untilMs: number): number {
  let longest = 0;
  let last = times[0] ?? fromMs;
  for (const at of times) {
    if (at >= fromMs && last <= untilMs) longest = Math.max(longest, at - last);
    last = at;
  }
  return Math.max(longest, untilMs - last);
}
