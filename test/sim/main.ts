/** `npm run sim -- [--seed N] [--seeds COUNT | --minutes M] [--members K | --shards] [--ms T] [--trace FILE] [--coverage]`: runs until one breaks a rule. docs/simulator.md */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CoverageReport } from './coverage.ts';
import { ShardSimulation } from './shard-simulation.ts';
import { Simulation } from './simulation.ts';
import { StateTrace, UNTRACEABLE } from './state-trace.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1' },
    /** 1, 3 or 5; by the seed when not given. */
    members: { type: 'string' },
    /** Simulated milliseconds with faults. */
    ms: { type: 'string', default: '5000' },
    /** Whole clusters of shards instead of bare groups. */
    shards: { type: 'boolean', default: false },
    /** Writes what the members of one group do to this file; of a run without crashes and membership changes. */
    trace: { type: 'string' },
    /** With --shards: how often each event happened, in how many seeds. */
    coverage: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '0' },
  },
});
if (values.trace !== undefined && (values.shards || values.seeds !== '1' || values.minutes !== '0')) {
  process.stderr.write(
    '--trace writes what one bare group does in one run: it goes with neither --shards, --seeds nor --minutes\n',
  );
  process.exit(2);
}
const first = Number(values.seed);
const untilMs = performance.now() + Number(values.minutes) * 60_000;
const report = new CoverageReport();
let done = 0;
for (let seed = first; done < Number(values.seeds) || performance.now() < untilMs; seed++, done++) {
  const members = values.members === undefined ? ([3, 5, 3, 5, 1][seed % 5] as number) : Number(values.members);
  const faultyMs = Number(values.ms);
  const voters = values.members === undefined ? {} : { voters: members };
  const kind = values.shards
    ? `--shards${values.members === undefined ? '' : ` --members ${members}`}`
    : `--members ${members}`;
  const trace = new StateTrace(members);
  const traced = values.trace === undefined ? {} : { trace, faults: UNTRACEABLE };
  try {
    let result: object;
    if (values.shards) {
      const { coverage, ...others } = await new ShardSimulation({ seed, faultyMs, ...voters }).run();
      report.add(coverage);
      result = { ...others, ...Object.fromEntries(coverage.counts) };
    } else {
      result = new Simulation({ seed, members, faultyMs, ...traced }).run();
    }
    if (values.seeds === '1' && values.minutes === '0') process.stdout.write(`${JSON.stringify(result, null, 1)}\n`);
    if (values.trace !== undefined) writeFileSync(values.trace, `${trace.lines.join('\n')}\n`);
  } catch (error) {
    process.stderr.write(
      `seed ${seed} breaks a rule after ${done} that hold: ${String(error)}\nAgain: npm run sim -- --seed ${seed} ${kind} --ms ${values.ms}\n`,
    );
    if (error instanceof Error)
      process.stderr.write(`${error.stack?.split('\n    at ').slice(1, 12).join('\n    ')}\n`);
    process.exit(1);
  }
  if (done % 1000 === 999) process.stderr.write(`${done + 1} seeds hold\n`);
}
if (values.coverage) process.stdout.write(report.toString());
process.stdout.write(`${done} seeds hold, from ${first} on\n`);
