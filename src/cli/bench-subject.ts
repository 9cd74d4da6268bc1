/** What `skerry bench` puts its load on: a node, anything that speaks Redis's protocol, or a store inside this process. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { LoadTarget } from '../bench/load.ts';
import { embeddedTarget } from '../bench/load.ts';
import type { NodeProbe } from '../bench/node-probe.ts';
import { probeEmbedded, probeOverHttp } from '../bench/node-probe.ts';
import { formatAddress, parseAddress, parseAddresses } from '../client/address.ts';
import { openStore } from '../client/connect.ts';

const HTTP_PORT = 7371;
const REDIS_PORT = 6379;

export interface SubjectFlags {
  /** host:port, or several with commas between them. */
  readonly server: string;
  readonly resp?: string;
  /** A folder; true: one for the time being. */
  readonly embedded?: true | string;
  readonly http?: string;
}

export interface Subject {
  /** As results say it. */
  readonly name: string;
  readonly target: LoadTarget;
  /** Null: its own numbers cannot be read. */
  readonly probe: NodeProbe | null;
  close(): Promise<void>;
}

/** Throws SkerryError KV_INVALID for what is no address; whether anybody is there shows when the load begins. */
export async function openSubject(flags: SubjectFlags): Promise<Subject> {
  if (flags.embedded !== undefined) return await openOwnStore(flags.embedded);
  if (flags.resp !== undefined) {
    const { host, port } = parseAddress(flags.resp, REDIS_PORT);
    return {
      name: `redis://${formatAddress({ host, port })}`,
      target: { kind: 'resp', host, port },
      probe: await findProbe(flags.http),
      close: nothing,
    };
  }
  const { server } = flags;
  const [first] = parseAddresses(server);
  return {
    name: `skerry://${server}`,
    target: { kind: 'native', server },
    probe: await findProbe(flags.http ?? formatAddress({ host: first.host, port: HTTP_PORT })),
    close: nothing,
  };
}

/** A load is worth measuring without the node's own numbers too. */
async function findProbe(http: string | undefined): Promise<NodeProbe | null> {
  if (http === undefined) return null;
  const probe = probeOverHttp(formatAddress(parseAddress(http, HTTP_PORT)));
  try {
    await probe();
    return probe;
  } catch (error) {
    process.stderr.write(`skerry: going on without the node's own numbers (--http): ${(error as Error).message}\n`);
    return null;
  }
}

const nothing = (): Promise<void> => Promise.resolve();

async function openOwnStore(folder: true | string): Promise<Subject> {
  // Only those who embed a store load its engine and start its threads.
  const { openEmbedded } = await import('../server/embedded.ts');
  const dir = folder === true ? makeTemporaryFolder() : folder;
  const store = await openStore(await openEmbedded(dir, undefined), { timeoutMs: 60_000 });
  return {
    name: 'embedded',
    target: embeddedTarget(store),
    probe: probeEmbedded(store),
    close: () => store.close(),
  };
}

/** Is there until the process ends, however it does but by SIGKILL. */
function makeTemporaryFolder(): string {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'skerry-bench-'));
  // After a signal the log's thread may still make files.
  process.once('exit', () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
  return dir;
}
