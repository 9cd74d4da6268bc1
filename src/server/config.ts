/**
 * The settings of a node, put together from where they are given. The first place that names a setting wins:
 *
 *     flags  >  environment (SKERRY_*)  >  configuration file  >  defaults
 *
 * Whatever is wrong is reported all at once, each with its place, what was given and what is allowed.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { SkerryError } from '../core/errors.ts';
import { settingGroups, settingRows, type SettingRow, type Settings } from './settings.ts';
import type { Machine } from './setting-kinds.ts';

export { keyFromText } from './setting-kinds.ts';
export type { Settings } from './settings.ts';

export interface SettingsInput {
  /** By option name, as commander returns them: `respPort` for --resp-port; `config` names the file. undefined = not given. */
  readonly flags?: Readonly<Record<string, unknown>>;
  /** Environment; names that do not start with SKERRY_ are passed over. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** A configuration that is already in memory, in place of a file: `{ network: { port: 0 } }`. */
  readonly values?: unknown;
  /** For the defaults; the machine we are on unless given. */
  readonly machine?: Machine;
}

/** Variables that are no settings and are read elsewhere. */
const otherVariables = new Set(['SKERRY_CONFIG', 'SKERRY_SERVER']);

/**
 * Kubernetes and Docker links put these into every container beside a service called "skerry"; they are not meant
 * for us, and one of them even has the name of a setting: SKERRY_PORT=tcp://10.0.0.7:7370.
 */
function isServiceLink(name: string, value: string): boolean {
  return /^SKERRY_(SERVICE_|PORT_\d|ENV_|NAME$)/.test(name) || (name === 'SKERRY_PORT' && /^(tcp|udp):/.test(value));
}

interface Given {
  /** How the user wrote it: `--port`, `SKERRY_PORT`, `skerry.json: network.port`. */
  readonly place: string;
  readonly value: unknown;
}

/**
 * Complete, checked settings.
 * @throws SkerryError KV_INVALID naming every mistake: unknown names (with the nearest known one), values out of bounds, and
 *   settings that contradict each other; or a file that cannot be read.
 */
export function parseSettings(input: SettingsInput = {}): Settings {
  const problems: string[] = [];
  const given = new Map<string, Given>();
  collectFile(input, given, problems);
  collectEnvironment(input.env ?? {}, given, problems);
  collectFlags(input.flags ?? {}, given, problems);

  const machine = input.machine ?? thisMachine();
  const groups: Record<string, Record<string, unknown>> = {};
  for (const row of settingRows) {
    (groups[row.group] ??= {})[row.name] = resolve(row, given.get(row.path), machine, problems);
  }
  const settings = groups as unknown as Settings;
  const complete: Settings =
    settings.node.walDir === ''
      ? { ...settings, node: { ...settings.node, walDir: join(settings.node.dataDir, 'wal') } }
      : settings;
  if (problems.length === 0) problems.push(...contradictions(complete));
  if (problems.length > 0) throw invalid(problems);
  return complete;
}

function invalid(problems: readonly string[], cause?: unknown): SkerryError {
  const message =
    problems.length === 1 ? `Invalid setting: ${problems[0]}` : `Invalid settings:\n  ${problems.join('\n  ')}`;
  return new SkerryError('KV_INVALID', message, { cause, hint: { problems } });
}

function thisMachine(): Machine {
  // A container's limit, if there is one; some systems say "no limit" by a number beyond all memory.
  const constrained = process.constrainedMemory();
  const total = totalmem();
  return {
    parallelism: availableParallelism(),
    memoryBytes: constrained > 0 && constrained < total ? constrained : total,
  };
}

function resolve(row: SettingRow, given: Given | undefined, machine: Machine, problems: string[]): unknown {
  if (given === undefined) return row.setting.defaultOf(machine);
  const result = row.setting.schema.safeParse(given.value);
  if (result.success) return result.data;
  problems.push(`${given.place} is ${JSON.stringify(given.value)}; allowed: ${row.setting.allowed}`);
  return row.setting.defaultOf(machine);
}

/** What each setting alone cannot tell. */
function contradictions({ network, raft, wal }: Settings): string[] {
  const problems: string[] = [];
  const ports = [
    ['--port', network.port],
    ['--resp-port', network.respPort],
    ['--http-port', network.httpPort],
    ['--peer-port', network.peerPort],
  ] as const;
  ports.forEach(([name, number], i) => {
    const twin = ports.slice(0, i).find(([, other]) => other === number && number !== 0);
    if (twin !== undefined) problems.push(`${name} and ${twin[0]} are both ${number}; each needs a port of its own`);
  });
  if (raft.heartbeatIntervalMs * 3 > raft.electionTimeoutMs) {
    problems.push(
      `--raft-heartbeat-interval-ms is ${raft.heartbeatIntervalMs} and --raft-election-timeout-ms is ${raft.electionTimeoutMs}; allowed: an election timeout of at least three heartbeats`,
    );
  }
  if (wal.ringBytes >= wal.segmentBytes) {
    problems.push(
      `--wal-ring is ${wal.ringBytes} and --wal-segment is ${wal.segmentBytes}; allowed: a ring smaller than a segment`,
    );
  }
  return problems;
}

function collectFlags(flags: Readonly<Record<string, unknown>>, given: Map<string, Given>, problems: string[]): void {
  for (const [option, value] of Object.entries(flags)) {
    if (value === undefined || option === 'config') continue;
    const row = settingRows.find((candidate) => candidate.option === option);
    if (row === undefined) {
      const known = [...settingRows.map((candidate) => candidate.option), 'config'];
      problems.push(unknown(option, nearest(option, known)));
    } else {
      given.set(row.path, { place: row.flag, value });
    }
  }
}

function collectEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  given: Map<string, Given>,
  problems: string[],
): void {
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || !name.startsWith('SKERRY_') || otherVariables.has(name)) continue;
    if (isServiceLink(name, value)) continue;
    const row = settingRows.find((candidate) => candidate.variable === name);
    if (row === undefined) {
      const known = [...settingRows.map((candidate) => candidate.variable), ...otherVariables];
      problems.push(unknown(name, nearest(name, known)));
    } else {
      given.set(row.path, { place: name, value });
    }
  }
}

function collectFile(input: SettingsInput, given: Map<string, Given>, problems: string[]): void {
  const named = input.flags?.['config'] ?? input.env?.['SKERRY_CONFIG'];
  if (typeof named === 'string') {
    collectGroups(readConfigFile(named), `${named}: `, given, problems);
  } else if (input.values !== undefined) {
    collectGroups(input.values, '', given, problems);
  }
}

function readConfigFile(file: string): unknown {
  let content: string;
  try {
    content = readFileSync(file, 'utf8');
  } catch (cause) {
    throw invalid([`--config ${file} cannot be read: ${(cause as Error).message}`], cause);
  }
  try {
    return JSON.parse(content) as unknown;
  } catch (cause) {
    throw invalid([`--config ${file} is not JSON: ${(cause as Error).message}`], cause);
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function collectGroups(values: unknown, where: string, given: Map<string, Given>, problems: string[]): void {
  if (!isObject(values)) {
    problems.push(`${where}the configuration is not an object of groups such as { "network": { "port": 7370 } }`);
    return;
  }
  const groups = Object.keys(settingGroups);
  const paths = settingRows.map((row) => row.path);
  for (const [group, settings] of Object.entries(values)) {
    if (!groups.includes(group)) {
      const inside = settingRows.find((row) => row.name === group);
      problems.push(where + unknown(group, inside?.path ?? nearest(group, groups)));
      continue;
    }
    if (!isObject(settings)) {
      problems.push(`${where}${group} is ${JSON.stringify(settings)}; allowed: an object of settings`);
      continue;
    }
    for (const [name, value] of Object.entries(settings)) {
      const path = `${group}.${name}`;
      if (paths.includes(path)) given.set(path, { place: where + path, value });
      else
        problems.push(
          where + unknown(path, settingRows.find((row) => row.name === name)?.path ?? nearest(path, paths)),
        );
    }
  }
}

function unknown(name: string, suggestion: string): string {
  return `${name} is not a setting; did you mean ${suggestion}?`;
}

/** The candidate with the smallest edit distance. */
function nearest(name: string, candidates: readonly string[]): string {
  const distances = candidates.map((candidate) => editDistance(name.toLowerCase(), candidate.toLowerCase()));
  return candidates[distances.indexOf(Math.min(...distances))] as string;
}

/** Levenshtein's distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const above = row;
    row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (above[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, (above[j] as number) + 1, (row[j - 1] as number) + 1));
    }
  }
  return row[b.length] as number;
}
