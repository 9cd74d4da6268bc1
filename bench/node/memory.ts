/** Resident memory per key: five million keys of 16 bytes with values of 100, in Skerry and in Redis. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fill } from '../harness/loads.ts';
import { residentBytesOf } from '../harness/processes.ts';
import type { Subject } from '../harness/processes.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { startRedis, startSkerry, versions } from '../harness/servers.ts';

const KEYS = 5_000_000;
/** For what filling has left behind to be collected. */
const SETTLE_MS = 5000;

interface Resident {
  readonly emptyBytes: number;
  readonly fullBytes: number;
}

async function residentOf(subject: Subject & { readonly respPort: number }): Promise<Resident> {
  const emptyBytes = residentBytesOf(subject.pid);
  await fill(subject.respPort, KEYS);
  await sleep(SETTLE_MS);
  return { emptyBytes, fullBytes: residentBytesOf(subject.pid) };
}

async function measureOf(start: () => Promise<Subject & { readonly respPort: number }>): Promise<Resident> {
  const subject = await start();
  try {
    return await residentOf(subject);
  } finally {
    await subject.stop();
  }
}

async function measure({ say }: RowOptions): Promise<RowResult> {
  const skerry = await measureOf(() => startSkerry(['--pre-split', 'key:000002500000']));
  say(`Skerry: ${JSON.stringify(skerry)}`);
  const redis = versions.redis() === null ? null : await measureOf(startRedis);
  say(`Redis: ${JSON.stringify(redis)}`);
  const perKey = ({ emptyBytes, fullBytes }: Resident): number => (fullBytes - emptyBytes) / KEYS;
  const whole = (resident: Resident): number => resident.fullBytes / KEYS;
  return {
    figures: [
      figure('Skerry: resident memory per key, the whole process', 'B', whole(skerry), 'lower', {
        must: 204,
        aim: 150,
      }),
      figure('Skerry: beyond the empty node', 'B', perKey(skerry), 'lower'),
      ...(redis === null
        ? []
        : [
            figure('Redis: resident memory per key, the whole process', 'B', whole(redis), 'lower'),
            figure('Redis: beyond the empty server', 'B', perKey(redis), 'lower'),
          ]),
    ],
    details: { keys: KEYS, skerry, redis },
  };
}

export const memoryRow: Row = {
  id: 'memory',
  title: 'Resident memory per key: 5 million keys of 16 bytes, values of 100 bytes',
  lacks: () => (process.platform === 'linux' ? null : 'resident memory is read from /proc, which is Linux'),
  run: measure,
};
