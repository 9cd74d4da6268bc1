// Thread main: answers rounds of a counter in shared memory, waiting at a doorbell between them. Random idling before each
// step moves the two sides against each other, so that rings meet every moment of a parking.
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { Doorbell } from '../index.ts';
import { countNotifies } from './notifies.ts';
import { xorshift32 } from './traffic.ts';

export interface PingPongOptions {
  /** Word 0 counts rounds: this side moves it from `parity` (mod 2) on. Word 1 is scratch. */
  readonly rounds: SharedArrayBuffer;
  readonly ownDoorbell: SharedArrayBuffer;
  readonly otherDoorbell: SharedArrayBuffer;
  readonly parity: 0 | 1;
  readonly roundsMax: number;
  readonly waiting: 'blocking' | 'async';
}

export interface PingPongReport {
  readonly parkings: number;
  readonly notifies: number;
}

assert(parentPort !== null);
const port = parentPort;
const options = workerData as PingPongOptions;
const words = new Int32Array(options.rounds);
const own = new Doorbell(options.ownDoorbell);
const other = new Doorbell(options.otherDoorbell);
const random = xorshift32(7 + options.parity);

const notifies = countNotifies();

let parkings = 0;

function idle(): void {
  for (let turns = random() & 1023; turns > 0; turns -= 1) Atomics.load(words, 1);
}

function myTurn(): boolean {
  const round = Atomics.load(words, 0);
  return round >= options.roundsMax || (round & 1) === options.parity;
}

/** Moves the counter on when it is this side's turn. Returns true after the last round. */
function step(): boolean {
  for (;;) {
    idle();
    const round = Atomics.load(words, 0);
    if (round >= options.roundsMax) return true;
    if ((round & 1) !== options.parity) return false;
    Atomics.store(words, 0, round + 1);
    other.ring();
  }
}

function finish(): void {
  const report: PingPongReport = { parkings, notifies: notifies.count() };
  port.postMessage(report);
  port.close();
}

function turn(): void {
  do {
    if (step()) {
      finish();
      return;
    }
    parkings += 1;
  } while (!own.park(myTurn, turn));
}

if (options.waiting === 'blocking') {
  while (!step()) {
    parkings += 1;
    own.wait(myTurn);
  }
  finish();
} else {
  port.on('message', () => undefined);
  turn();
}
