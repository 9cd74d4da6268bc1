/** `skerry wal dump|verify|repair`: look into the log of a stopped node. Data on stdout, talk on stderr. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { SkerryError } from '../../core/errors.ts';
import { nodeDisk } from '../../storage/disk.ts';
import { dumpWal, formatRecord, formatVerdict, verifyWal } from '../../storage/wal/inspect.ts';
import { MANIFEST_NAME } from '../../storage/wal/manifest.ts';
import { LOCK_NAME } from '../../storage/wal/names.ts';
import { repairWal } from '../../storage/wal/repair.ts';
import type { RepairReport } from '../../storage/wal/repair.ts';
import { listSegments } from '../../storage/wal/segment.ts';
import { EXIT_FAILED } from '../exit-codes.ts';

interface WalOptions {
  readonly json?: boolean;
  readonly range?: number;
  readonly limit?: number;
  readonly force?: boolean;
}

export function registerWal(program: Command): void {
  const wal = program.command('wal').description('look into the write-ahead log of a stopped node, and repair it');

  wal
    .command('dump')
    .description('print the records of the log, one per line')
    .argument('<dir>', 'the WAL directory, or the data directory that it is in')
    .option('--range <id>', 'only records of this range', wholeNumber)
    .option('--limit <n>', 'stop after so many records', wholeNumber)
    .option('--json', 'one JSON object per record')
    .addHelpText(
      'after',
      '\nExamples:\n  skerry wal dump ./data\n  skerry wal dump ./data --range 3 --json | jq .index',
    )
    .action((dir: string, _options: WalOptions, command: Command) => dump(walDirOf(dir), command.optsWithGlobals()));

  wal
    .command('verify')
    .description('read everything and list all damage; exits with 1 when there is some that matters')
    .argument('<dir>', 'the WAL directory, or the data directory that it is in')
    .option('--json', 'the verdict as one JSON object')
    .addHelpText('after', '\nExample:\n  skerry wal verify ./data')
    .action((dir: string, _options: WalOptions, command: Command) => verify(walDirOf(dir), command.optsWithGlobals()));

  wal
    .command('repair')
    .description('end a damaged log before its first damage; what comes behind is moved aside and listed')
    .argument('<dir>', 'the WAL directory, or the data directory that it is in')
    .option('--force', 'accept that acknowledged writes are lost')
    .option('--json', 'the report as one JSON object')
    .addHelpText('after', '\nExample:\n  skerry wal verify ./data || skerry wal repair ./data --force')
    .action((dir: string, _options: WalOptions, command: Command) => repair(walDirOf(dir), command.optsWithGlobals()));
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('Give a whole number.');
  return value;
}

/** People name the data directory; the log lies in `wal` inside it. */
function walDirOf(dir: string): string {
  for (const candidate of [dir, path.join(dir, 'wal')]) {
    if (!existsSync(candidate)) continue;
    if (existsSync(path.join(candidate, MANIFEST_NAME)) || listSegments(nodeDisk, candidate).length > 0)
      return candidate;
  }
  throw new SkerryError('KV_INVALID', `There is no write-ahead log in ${dir}: no manifest and no segments.`);
}

class LimitReached extends Error {}

function dump(dir: string, options: WalOptions): void {
  let count = 0;
  try {
    dumpWal(
      nodeDisk,
      dir,
      (record) => {
        if (count === options.limit) throw new LimitReached();
        count += 1;
        print(options.json ? JSON.stringify(record) : formatRecord(record));
      },
      {
        ...(options.range === undefined ? {} : { rangeId: options.range }),
        onDamage: ({ file, offset, what }) => talk(`DAMAGED  ${file}, offset ${offset}: ${what}`),
      },
    );
  } catch (error) {
    if (!(error instanceof LimitReached)) throw error;
  }
}

function verify(dir: string, options: WalOptions): void {
  withLock(dir, () => {
    const verdict = verifyWal(nodeDisk, dir);
    if (options.json) print(JSON.stringify(verdict));
    else for (const line of formatVerdict(verdict)) print(line);
    if (!verdict.isUsable) process.exitCode = EXIT_FAILED;
  });
}

function repair(dir: string, options: WalOptions): void {
  withLock(dir, () => {
    const verdict = verifyWal(nodeDisk, dir);
    if (!options.force && !verdict.isUsable) {
      for (const line of formatVerdict(verdict)) talk(line);
      talk('Nothing was changed. Repairing gives up everything behind the first damage, acknowledged writes included;');
      talk('restoring the node from its peers or a backup does not. To repair all the same, add --force.');
      process.exitCode = EXIT_FAILED;
      return;
    }
    const now = new Date();
    const sideName = `cut-${now.toISOString().replaceAll(':', '-')}`;
    const report = repairWal(nodeDisk, dir, sideName, now.getTime() * 1000);
    if (options.json) print(JSON.stringify(report));
    else for (const line of formatReport(report)) print(line);
  });
}

function formatReport(report: RepairReport): string[] {
  if (report.wasGood) return ['The log is good; nothing was changed.'];
  const lines = report.rebuilt.map((file) => `Rebuilt without loss: ${file}`);
  const { cut, sideDir, lost, unreadableRecords, unreadableBytes } = report;
  if (cut === null) return [...lines, 'Nothing had to be cut.'];
  lines.push(`The log ends now before ${cut.file}, offset ${cut.offset}: ${cut.reason}`);
  lines.push(`What was cut off is kept in ${String(sideDir)}`);
  for (const { rangeId, records, firstIndex, lastIndex } of lost) {
    const entries = firstIndex === 0 ? 'no entries' : `entries ${firstIndex} to ${lastIndex}`;
    lines.push(`Lost of range ${rangeId}: ${records} readable records, ${entries}`);
  }
  lines.push(`Lost and unreadable: ${unreadableBytes} bytes, at least ${unreadableRecords} records`);
  return lines;
}

function withLock(dir: string, body: () => void): void {
  const lock = nodeDisk.lockFile(path.join(dir, LOCK_NAME));
  try {
    body();
  } finally {
    lock.release();
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function talk(line: string): void {
  process.stderr.write(`${line}\n`);
}
