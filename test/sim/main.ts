/** `npm run sim -- [--seed N] [--seeds COUNT | --minutes M] [--members K] [--ms T]`: runs until one breaks a rule. docs/simulator.md */
import { parseArgs } from 'node:util';
import { Simulation } from './simulation.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1' },
    /** 1, 3 or 5; by the seed when not given. */
    members: { type: 'string' },
    /** Simulated milliseconds with faults. */
    ms: { type: 'string', default: '5000' },
    minutes: { type: 'string', default: '0' },
  },
});
const first = Number(values.seed);
const untilMs = performance.now() + Number(values.minutes) * 60_000;
let done = 0;
for (let seed = first; done < Number(values.seeds) || performance.now() < untilMs; seed++, done++) {
  const members = values.members === undefined ? ([3, 5, 3, 5, 1][seed % 5] as number) : Number(values.members);
  const again = `npm run sim -- --seed ${seed} --members ${members} --ms ${values.ms}`;
  try {
    const result = new Simulation({ seed, members, faultyMs: Number(values.ms) }).run();
    if (values.seeds === '1' && values.minutes === '0') process.stdout.write(`${JSON.stringify(result, null, 1)}\n`);
  } catch (error) {
    process.stderr.write(`seed ${seed} breaks a rule after ${done} that hold: ${String(error)}\nAgain: ${again}\n`);
    throw error;
  }
  if (done % 1000 === 999) process.stderr.write(`${done + 1} seeds hold\n`);
}
process.stdout.write(`${done} seeds hold, from ${first} on\n`);
