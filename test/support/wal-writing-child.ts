/** A process that writes to a log as fast as it can and tells its parent each index that is durable, until it is killed. */
import { createIoPool, startWal } from '../../src/storage/wal/pool.ts';
import { WalClient } from './wal-client.ts';

const client = new WalClient();
const dir = process.argv[2] as string;
const wal = await startWal({ dir, pool: createIoPool(2), workers: [client], segmentBytes: 2 * 1024 * 1024 });
client.connect(wal);
for (let index = 1; ; index++) {
  client.append(1, index, Buffer.from(`value ${index}`));
  await client.durable();
  process.send?.(index);
}
