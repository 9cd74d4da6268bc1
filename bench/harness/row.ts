/**
 * A row is one thing that is measured from start to end, by itself: it starts the servers it needs, alternates between them,
 * and ends them. Its result is a file of its own, so that a suite can be run in pieces.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { thisMachine, type Machine } from '../../src/bench/measured-run.ts';
import { version } from '../../src/server/version.ts';
import { watchForeignWork } from './foreign-work.ts';
import { versions } from './servers.ts';
import type { Spread } from './statistics.ts';

export interface Figure {
  readonly what: string;
  /** As it is printed behind the number: `×`, `ms`, `B`, `/s`. */
  readonly unit: string;
  /** The median, when there is a spread. */
  readonly value: number;
  readonly spread: Spread | null;
  readonly better: 'higher' | 'lower';
  /** What is promised, and what is hoped for; null where nothing is. */
  readonly must: number | null;
  readonly aim: number | null;
}

/** `value`: one number, or the spread of several, whose median counts. */
export function figure(
  what: string,
  unit: string,
  value: number | Spread,
  better: Figure['better'],
  { must, aim }: { readonly must: number | null; readonly aim: number | null } = { must: null, aim: null },
): Figure {
  const spread = typeof value === 'number' ? null : value;
  return { what, unit, value: typeof value === 'number' ? value : value.median, spread, better, must, aim };
}

export interface RowResult {
  readonly figures: readonly Figure[];
  /** All that was measured, for who wants to know more. */
  readonly details: unknown;
}

export interface RowOptions {
  /** Of alternating runs. */
  readonly pairs: number;
  /** Of one run, about. */
  readonly seconds: number;
  readonly say: (text: string) => void;
}

export interface Row {
  readonly id: string;
  readonly title: string;
  /** Null when it can run here, else what is missing. */
  readonly lacks: () => string | null;
  readonly run: (options: RowOptions) => Promise<RowResult>;
}

export interface SavedRow extends RowResult {
  readonly id: string;
  readonly title: string;
  /** When it ended. */
  readonly at: string;
  readonly command: string;
  readonly pairs: number;
  /** Share of the machine's CPU that went to others meanwhile; null where that is not known. */
  readonly foreignWork?: number | null;
  readonly versions: Readonly<Record<string, string | null>>;
  readonly machine: Machine;
}

export interface RunRowsOptions extends RowOptions {
  /** Folder that results are written to; null writes none. */
  readonly out: string | null;
}

/** Runs rows one after another. A row that fails is said and does not keep the others from running. True when all went well. */
export async function runRows(rows: readonly Row[], options: RunRowsOptions): Promise<boolean> {
  const { say, out, pairs } = options;
  let isWell = true;
  for (const row of rows) {
    const { id, title } = row;
    const lacking = row.lacks();
    say(`\n# ${id}: ${title}${lacking === null ? '' : ` — left out: ${lacking}`}`);
    if (lacking !== null) continue;
    const watch = watchForeignWork();
    try {
      // One after another: two at once would measure each other.
      // oxlint-disable-next-line no-await-in-loop
      const result = await row.run(options);
      const foreignWork = watch();
      for (const each of result.figures) console.log(`${id.padEnd(14)} ${describeFigure(each)}`);
      if (foreignWork !== null) say(`${id}: others took ${(foreignWork * 100).toFixed(0)} % of the machine meanwhile`);
      if (out !== null) {
        const at = new Date().toISOString();
        save(out, { id, title, at, command: command(), pairs, foreignWork, ...about(), ...result });
      }
    } catch (error) {
      isWell = false;
      console.error(`${id} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    }
  }
  return isWell;
}

function command(): string {
  return ['npm run bench --', ...process.argv.slice(2)].join(' ');
}

function about(): Pick<SavedRow, 'versions' | 'machine'> {
  const { stdout, status } = spawnSync('git', ['describe', '--always', '--dirty', '--abbrev=10'], { encoding: 'utf8' });
  return {
    versions: {
      skerry: version,
      commit: status === 0 ? stdout.trim() : null,
      redis: versions.redis(),
      etcd: versions.etcd(),
    },
    machine: thisMachine(),
  };
}

function save(out: string, row: SavedRow): void {
  mkdirSync(out, { recursive: true });
  writeFileSync(path.join(out, `${row.id}.json`), `${JSON.stringify(row, null, 1)}\n`);
}

/** What a figure says against what was promised and hoped for. */
export function verdictOf({ value, better, must, aim }: Figure): 'aim met' | 'met' | 'missed' | '' {
  const reaches = (wanted: number): boolean => (better === 'higher' ? value >= wanted : value <= wanted);
  if (must === null && aim === null) return '';
  if (aim !== null && reaches(aim)) return 'aim met';
  return must === null || reaches(must) ? 'met' : 'missed';
}

export function describeFigure(figure: Figure): string {
  const { what, unit, value, spread, must, aim } = figure;
  const around = spread === null ? '' : ` (${format(spread.lowerQuartile)} … ${format(spread.upperQuartile)})`;
  const wanted = must === null ? '' : `, must ${format(must)}, aim ${format(aim ?? must)}: ${verdictOf(figure)}`;
  return `${what}: ${format(value)} ${unit}${around}${wanted}`;
}

/** Three significant digits, without exponents. */
export function format(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6)).replace(/\B(?<!\..*)(?=(?:\d{3})+(?!\d))/g, ',');
}
