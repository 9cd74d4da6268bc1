/** `npm run sim -- --seed N [--seeds COUNT] [--members M] [--steps S]`: simulations until one breaks a rule. */
import { parseArgs } from 'node:util';
import { Simulation } from './simulation.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1' },
    members: { type: 'string', default: '3' },
    steps: { type: 'string', default: '5000' },
    minutes: { type: 'string', default: '0' },
  },
});
const first = Number(values.seed);
const untilMs = performance.now() + Number(values.minutes) * 60_000;
let done = 0;
for (let seed = first; done < Number(values.seeds) || performance.now() < untilMs; seed++, done++) {
  try {
    new Simulation({ seed, members: Number(values.members), steps: Number(values.steps) }).run();
  } catch (error) {
    process.stderr.write(`seed ${seed} with ${values.members} members, ${values.steps} steps: ${String(error)}\n`);
    throw error;
  }
  if (done % 100 === 99) process.stderr.write(`${done + 1} seeds hold\n`);
}
process.stdout.write(`${done} seeds hold\n`);
