/**
 * CONFIG: the node's settings under the names and in the units that Redis's tools know. Those that can change at run time
 * have a parser; the others are fixed until the node is started again.
 */
import { limits } from '../../core/limits.ts';
import type { LogLevel } from '../../observe/log.ts';

/** Settings that can change while the node runs. */
export interface RunTimeSettings {
  readonly maxConnections: number;
  /** 0 = never. */
  readonly idleTimeoutMs: number;
  /** 0 = no limit. */
  readonly maxMemoryBytes: number;
  readonly maxRecoverySeconds: number;
  readonly logLevel: LogLevel;
}

/** All that CONFIG shows. */
export interface ShownSettings extends RunTimeSettings {
  readonly host: string;
  readonly respPort: number;
  readonly workerCount: number;
  readonly maxOutputBytes: number;
  readonly maxValueBytes: number;
}

/** What a parameter's new value changes, or why it cannot be that. */
type Parsed = Partial<RunTimeSettings> | string;

interface Parameter {
  readonly name: string;
  readonly show: (settings: ShownSettings) => string;
  /** Without: immutable. */
  readonly parse?: (value: string) => Parsed;
}

const IDLE_SECONDS_MAX = Math.floor((2 ** 31 - 1) / 1000);

/** Redis's words for how much is logged, and ours; the first of each pair may be set and is shown. */
const logWords: readonly (readonly [word: string, level: LogLevel])[] = [
  ['debug', 'trace'],
  ['verbose', 'debug'],
  ['notice', 'info'],
  ['warning', 'warn'],
  ['error', 'error'],
  ['fatal', 'fatal'],
  ['nothing', 'silent'],
];

const between = (min: number, max: number): string => `argument must be between ${min} and ${max} inclusive`;

function integer(text: string, min: number, max: number): number | string {
  if (!/^-?\d{1,19}$/.test(text)) return "argument couldn't be parsed into an integer";
  const value = Number(text);
  return value < min || value > max ? between(min, max) : value;
}

const memoryUnits: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1000,
  kb: 1024,
  m: 1000 ** 2,
  mb: 1024 ** 2,
  g: 1000 ** 3,
  gb: 1024 ** 3,
};

/** A number of bytes with one of Redis's units; 0 is allowed whatever the bounds. */
function memory(text: string, min: number, max: number): number | string {
  const match = /^(\d{1,19})([a-z]*)$/i.exec(text);
  const unit = memoryUnits[match?.[2]?.toLowerCase() ?? ''];
  if (match === null || unit === undefined) return 'argument must be a memory value';
  const value = Number(match[1]) * unit;
  return value !== 0 && (value < min || value > max) ? between(min, max) : value;
}

const orError = <T>(value: T | string, change: (value: T) => Parsed): Parsed =>
  typeof value === 'string' ? value : change(value);

function parseLogLevel(text: string): Parsed {
  const found = logWords.find(([word]) => word === text.toLowerCase());
  if (found !== undefined) return { logLevel: found[1] };
  return `argument(s) must be one of the following: ${logWords.map(([word]) => word).join(', ')}`;
}

const parameters: readonly Parameter[] = [
  { name: 'appendfsync', show: () => 'always' },
  { name: 'appendonly', show: () => 'yes' },
  { name: 'bind', show: ({ host }) => host },
  {
    name: 'client-output-buffer-limit',
    show: ({ maxOutputBytes }) => `normal ${maxOutputBytes} 0 0 slave 0 0 0 pubsub 0 0 0`,
  },
  { name: 'databases', show: () => '1' },
  { name: 'io-threads', show: ({ workerCount }) => String(workerCount) },
  {
    name: 'loglevel',
    show: ({ logLevel }) => logWords.find(([, level]) => level === logLevel)?.[0] ?? logLevel,
    parse: parseLogLevel,
  },
  {
    name: 'max-recovery-seconds',
    show: ({ maxRecoverySeconds }) => String(maxRecoverySeconds),
    parse: (text) =>
      orError(integer(text, 1, limits.recoverySecondsMax), (maxRecoverySeconds) => ({ maxRecoverySeconds })),
  },
  {
    name: 'maxclients',
    show: ({ maxConnections }) => String(maxConnections),
    parse: (text) => orError(integer(text, 1, limits.connectionsMax), (maxConnections) => ({ maxConnections })),
  },
  {
    name: 'maxmemory',
    show: ({ maxMemoryBytes }) => String(maxMemoryBytes),
    parse: (text) =>
      orError(memory(text, limits.memoryBytesMin, limits.memoryBytesMax), (maxMemoryBytes) => ({ maxMemoryBytes })),
  },
  { name: 'maxmemory-policy', show: () => 'noeviction' },
  { name: 'port', show: ({ respPort }) => String(respPort) },
  { name: 'proto-max-bulk-len', show: ({ maxValueBytes }) => String(maxValueBytes) },
  { name: 'save', show: () => '' },
  {
    name: 'timeout',
    show: ({ idleTimeoutMs }) => String(Math.ceil(idleTimeoutMs / 1000)),
    parse: (text) => orError(integer(text, 0, IDLE_SECONDS_MAX), (seconds) => ({ idleTimeoutMs: seconds * 1000 })),
  },
];

const byName: ReadonlyMap<string, Parameter> = new Map(parameters.map((parameter) => [parameter.name, parameter]));

/** All names and values. */
export function showSettings(settings: ShownSettings): [name: string, value: string][] {
  return parameters.map(({ name, show }) => [name, show(settings)]);
}

function failed(name: string, reason: string): string {
  return `ERR CONFIG SET failed (possibly related to argument '${name}') - ${reason}`;
}

/** What CONFIG SET with these names and values changes; or Redis's error reply, and then nothing is to change. */
export function parseChanges(
  pairs: readonly (readonly [name: string, value: string])[],
): Partial<RunTimeSettings> | string {
  const seen = new Set<string>();
  for (const [given] of pairs) {
    const parameter = byName.get(given.toLowerCase());
    if (parameter === undefined) return `ERR Unknown option or number of arguments for CONFIG SET - '${given}'`;
    if (parameter.parse === undefined) return failed(given, "can't set immutable config");
    if (seen.has(parameter.name)) return failed(given, 'duplicate parameter');
    seen.add(parameter.name);
  }
  let changes: Partial<RunTimeSettings> = {};
  for (const [given, value] of pairs) {
    const parsed = byName.get(given.toLowerCase())?.parse?.(value) ?? {};
    if (typeof parsed === 'string') return failed(given, parsed);
    changes = { ...changes, ...parsed };
  }
  return changes;
}
