/** Commands that talk to a running node: get, set, del, scan, range. */
import { nodeOfWorker, WORKERS_MAX } from '../../core/member.ts';
import type { Command } from 'commander';
import { keyFromText } from '../../server/config.ts';
import type { Consistency } from '../../client/options.ts';
import type { RangeRecovery } from '../../client/store.ts';
import { SkerryError } from '../../core/errors.ts';
import { EXIT_FAILED, EXIT_NOT_FOUND } from '../exit-codes.ts';
import { printExplanation } from '../explanation-output.ts';
import { printable, printJson, printLine, printTable } from '../output.ts';
import { withServer, withStore } from '../with-server.ts';
import type { ClientFlags } from '../with-server.ts';

export function registerClientCommands(program: Command): void {
  registerGet(program);
  registerSet(program);
  registerDel(program);
  registerScan(program);
  registerRange(program);
}

interface GetFlags extends ClientFlags {
  readonly raw?: boolean;
  readonly linearizable?: boolean;
  readonly stale?: boolean;
  readonly explain?: boolean;
}

interface SetFlags extends ClientFlags {
  readonly ttl?: string;
  readonly ifAbsent?: boolean;
  readonly explain?: boolean;
}

function registerGet(program: Command): void {
  withServer(program.command('get'))
    .argument('<key>', 'The key; \\xHH stands for a byte.')
    .option('--raw', 'Print the bytes as they are, without a newline.')
    .option('--linearizable', 'Ask a quorum whether the leader still leads, whatever its lease says.')
    .option('--stale', 'Take what the nearest replica has applied: it may be old, and asks nobody.')
    .option('--explain', 'Say where the time went.')
    .description('Print the value of a key; exit code 3 when it is absent')
    .addHelpText(
      'after',
      '\nExamples:\n  skerry get user:1\n  skerry get image --raw > image.png\n  skerry get user:1 --explain',
    )
    .action(async (key: string, flags: GetFlags) => {
      await withStore(flags, async (store) => {
        const consistency = consistencyOf(flags);
        const { result: value, ...told } =
          flags.explain === true
            ? await store.get(keyFromText(key), { consistency, explain: true })
            : { result: await store.get(keyFromText(key), { consistency }) };
        if (value === undefined) process.exitCode = EXIT_NOT_FOUND;
        if (flags.json === true) printJson({ key, value: value === undefined ? null : printable(value), ...told });
        else if (value === undefined) process.stderr.write(`skerry: there is no key ${key}\n`);
        else if (flags.raw === true) process.stdout.write(value);
        else printLine(printable(value));
        if ('explanation' in told && flags.json !== true) printExplanation(told.explanation);
      });
    });
}

function consistencyOf({ linearizable, stale }: GetFlags): Consistency {
  if (linearizable === true && stale === true) {
    throw new SkerryError('KV_INVALID', 'A read is --linearizable or --stale, not both.');
  }
  return linearizable === true ? 'linearizable' : stale === true ? 'stale' : 'lease';
}

function registerSet(program: Command): void {
  withServer(program.command('set'))
    .argument('<key>')
    .argument('[value]', 'Without it, the value is read from standard input.')
    .option('--ttl <ms>', 'Milliseconds until the key expires.')
    .option('--if-absent', 'Only when the key is absent; exit code 3 when it is there.')
    .option('--explain', 'Say where the time went: queue, WAL wait, fsync, replication, apply.')
    .description('Store a value; it is durable when the command ends')
    .addHelpText(
      'after',
      '\nExamples:\n  skerry set user:1 Ada\n  skerry set image < image.png\n  skerry set user:1 Ada --explain',
    )
    .action(async (key: string, value: string | undefined, flags: SetFlags) => {
      const bytes = value === undefined ? await readInput() : keyFromText(value);
      await withStore(flags, async (store) => {
        const ttlMs = flags.ttl === undefined ? undefined : Number(flags.ttl);
        const options = { ttlMs, ifAbsent: flags.ifAbsent };
        const { result: isStored, ...told } =
          flags.explain === true
            ? await store.set(keyFromText(key), bytes, { ...options, explain: true })
            : { result: await store.set(keyFromText(key), bytes, options) };
        if (!isStored) process.exitCode = EXIT_NOT_FOUND;
        if (flags.json === true) printJson({ key, stored: isStored, ...told });
        else process.stderr.write(isStored ? 'stored\n' : `not stored: the key ${key} is there\n`);
        if ('explanation' in told && flags.json !== true) printExplanation(told.explanation);
      });
    });
}

function registerDel(program: Command): void {
  withServer(program.command('del'))
    .argument('<keys...>')
    .description('Delete keys; exit code 3 when none of them was there')
    .addHelpText('after', '\nExample:\n  skerry del user:1 user:2')
    .action(async (keys: string[], flags: ClientFlags) => {
      await withStore(flags, async (store) => {
        const deleted = (await store.command('DEL', keys.map(keyFromText))) as number;
        if (deleted === 0) process.exitCode = EXIT_NOT_FOUND;
        if (flags.json === true) printJson({ deleted });
        else printLine(String(deleted));
      });
    });
}

interface ScanFlags extends ClientFlags {
  readonly prefix?: string;
  readonly start?: string;
  readonly end?: string;
  readonly limit?: string;
  readonly reverse?: boolean;
  readonly keysOnly?: boolean;
}

function registerScan(program: Command): void {
  withServer(program.command('scan'))
    .option('--prefix <prefix>', 'Only keys that begin with it.')
    .option('--start <key>', 'First key.')
    .option('--end <key>', 'Key behind the last one.')
    .option('--limit <n>', 'At most so many.')
    .option('--reverse', 'From the last key to the first.')
    .option('--keys-only', 'Print keys without their values.')
    .description('Print keys and values in the order of the keys')
    .addHelpText('after', '\nExamples:\n  skerry scan --prefix user: --limit 10\n  skerry scan --json > backup.ndjson')
    .action(async (flags: ScanFlags) => {
      await withStore(flags, async (store) => {
        const entries = store.list({
          prefix: flags.prefix === undefined ? undefined : keyFromText(flags.prefix),
          start: flags.start === undefined ? undefined : keyFromText(flags.start),
          end: flags.end === undefined ? undefined : keyFromText(flags.end),
          limit: flags.limit === undefined ? undefined : Number(flags.limit),
          reverse: flags.reverse,
        });
        for await (const { key, value } of entries) {
          const shown = printable(key);
          if (flags.json === true)
            printJson(flags.keysOnly === true ? { key: shown } : { key: shown, value: printable(value) });
          else printLine(flags.keysOnly === true ? shown : `${shown}\t${printable(value)}`);
        }
      });
    });
}

function registerRange(program: Command): void {
  const range = program.command('range').description('Look at and change how the key space is cut into ranges');
  withServer(range.command('list'))
    .description('List the ranges in the order of their keys')
    .addHelpText('after', '\nExample:\n  skerry range list --json')
    .action(async (flags: ClientFlags) => {
      await withStore(flags, async (store) => {
        const ranges = (await store.ranges()).map(({ rangeId, startKey, endKey, epoch, worker }) => ({
          rangeId,
          startKey: printable(startKey),
          endKey: endKey === null ? null : printable(endKey),
          version: epoch.version,
          node: nodeOfWorker(worker),
          worker: worker % WORKERS_MAX,
        }));
        if (flags.json === true) {
          printJson(ranges);
          return;
        }
        const rows = ranges.map(({ rangeId, startKey, endKey, version, node, worker }) => {
          return [
            String(rangeId),
            startKey === '' ? '(first)' : startKey,
            endKey ?? '(last)',
            String(version),
            node === 0 ? '(nobody)' : `${node}.${worker}`,
          ];
        });
        printTable([['RANGE', 'FROM', 'TO', 'VERSION', 'WORKER'], ...rows]);
      });
    });
  registerRecover(range);
  registerReplication(range);
  withServer(range.command('split'))
    .argument('<key>', 'First key of the new range.')
    .description('Cut the range that holds a key into two, there')
    .addHelpText('after', '\nExample:\n  skerry range split user:5')
    .action(async (key: string, flags: ClientFlags) => {
      await withStore(flags, async (store) => {
        await store.splitRange(keyFromText(key));
        if (flags.json === true) printJson({ splitAt: key });
        else process.stderr.write(`split at ${key}\n`);
      });
    });
}

function registerReplication(range: Command): void {
  withServer(range.command('replication'))
    .argument(
      '[factor]',
      'How many replicas each range should have: 1, 3, 5 or 7. Without it, says how many that is now.',
    )
    .description('Look at or set the replication factor; replicas are made or taken away as far as there are nodes')
    .addHelpText('after', '\nExample:\n  skerry range replication 5')
    .action(async (factor: string | undefined, flags: ClientFlags) => {
      await withStore(flags, async (store) => {
        if (factor !== undefined) await store.setReplicationFactor(Number(factor));
        const replicationFactor = factor === undefined ? (await store.cluster()).replicationFactor : Number(factor);
        if (flags.json === true) printJson({ replicationFactor });
        else printLine(String(replicationFactor));
      });
    });
}

function registerRecover(range: Command): void {
  withServer(range.command('recover'))
    .argument('<range>', 'Its number.', Number)
    .option('--force', 'The lost voters never come back: go on with the replica of the node that is asked, alone.')
    .description('Bring back a range that has lost the majority of its voters for good')
    .addHelpText('after', '\nExample:\n  skerry range recover 7 --server 10.0.0.3:7370')
    .action(async (rangeId: number, flags: ClientFlags & { force?: boolean }) => {
      await withStore(flags, async (store) => {
        const recovery = await store.recoverRange(rangeId, { force: flags.force === true });
        if (flags.json === true) printJson(recovery);
        else printRecovery(recovery);
        if (!recovery.isRecovered) process.exitCode = EXIT_FAILED;
      });
    });
}

function printRecovery({ rangeId, voters, survivors, isRecovered }: RangeRecovery): void {
  const rows = survivors.map(({ nodeId, role, lastIndex, lastTerm, appliedIndex }) => {
    return [String(nodeId), role, String(lastIndex), String(lastTerm), String(appliedIndex)];
  });
  printTable([['NODE', 'ROLE', 'LAST INDEX', 'LAST TERM', 'APPLIED'], ...rows]);
  const own = survivors[0];
  const lost = voters.filter((nodeId) => !survivors.some((survivor) => survivor.nodeId === nodeId)).join(', ');
  process.stderr.write(
    [
      '',
      `Range ${rangeId} has voters on nodes ${voters.join(', ')}; nothing whole is heard of those on ${lost}.`,
      `WHATEVER WAS ACKNOWLEDGED BEHIND INDEX ${own?.lastIndex} IS LOST if the range goes on from node ${own?.nodeId}.`,
      `If nodes ${lost} come back with their data, the range exists TWICE: remove them, and never start them again.`,
      isRecovered ? `The range goes on from node ${own?.nodeId}, alone.` : 'Nothing was changed. With --force it is.',
      '',
    ].join('\n'),
  );
}

async function readInput(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
