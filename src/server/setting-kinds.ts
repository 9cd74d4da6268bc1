/**
 * The kinds of settings: whole numbers, sizes, ports, words, texts, lists of keys. A kind knows how to read what a flag, an
 * environment variable or a file holds, and how to say what is allowed.
 */
import { z } from 'zod';
import type { LocalityTier } from '../core/catalog/types.ts';
import { limits } from '../core/limits.ts';

/** What the defaults depend on. */
export interface Machine {
  /** CPUs this process may use. */
  readonly parallelism: number;
  /** Memory this process may use. */
  readonly memoryBytes: number;
}

export interface Setting<T> {
  readonly schema: z.ZodType<T>;
  /** For people: "a whole number from 0 to 65535". */
  readonly allowed: string;
  /** What follows the flag in --help: `<n>`. */
  readonly placeholder: string;
  readonly help: string;
  readonly defaultOf: (machine: Machine) => T;
  /** The default as people read it. */
  readonly defaultText: string;
}

const KEYS_MAX = 4096;
const LIST_MAX = 16;
const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const TiB = 1024 * GiB;

const sizeUnits: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: KiB,
  kb: KiB,
  kib: KiB,
  m: MiB,
  mb: MiB,
  mib: MiB,
  g: GiB,
  gb: GiB,
  gib: GiB,
  t: TiB,
  tb: TiB,
  tib: TiB,
};

/** Bytes of "512mb", "2gb", "65536", 65536: units are powers of 1024. Anything else comes back as it was. */
function parseSize(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(value);
  const unit = sizeUnits[match?.[2]?.toLowerCase() ?? ''];
  if (match === null || unit === undefined) return value;
  return Math.round(Number(match[1]) * unit);
}

/** 67108864 as "64 MiB". */
function formatSize(bytes: number): string {
  const units = [
    [TiB, 'TiB'],
    [GiB, 'GiB'],
    [MiB, 'MiB'],
    [KiB, 'KiB'],
  ] as const;
  const unit = units.find(([size]) => bytes >= size && bytes % size === 0);
  return unit === undefined ? `${bytes} bytes` : `${bytes / unit[0]} ${unit[1]}`;
}

const parseNumber = (value: unknown): unknown =>
  typeof value === 'string' && /^\s*-?\d+\s*$/.test(value) ? Number(value) : value;

const splitCommas = (value: unknown): unknown => {
  if (typeof value !== 'string') return value;
  return value === '' ? [] : value.split(',');
};

interface SizeShape {
  readonly name: string;
  readonly holds: (bytes: number) => boolean;
}

const anySize: SizeShape = { name: '', holds: () => true };

export const multipleOf = (unit: number): SizeShape => ({
  name: `a multiple of ${formatSize(unit)}`,
  holds: (bytes) => bytes % unit === 0,
});

export const powerOfTwo: SizeShape = {
  name: 'a power of two',
  holds: (bytes) => Number.isInteger(Math.log2(bytes)),
};

interface Common<T> {
  /** A value, or how it follows from the machine, and then the words for that. */
  readonly default: T | ((machine: Machine) => T);
  readonly defaultText?: string;
  readonly help: string;
}

function setting<T>(
  schema: z.ZodType<T>,
  allowed: string,
  placeholder: string,
  common: Common<T>,
  text: (value: T) => string,
): Setting<T> {
  const given = common.default;
  const isFunction = (value: typeof given): value is (machine: Machine) => T => typeof value === 'function';
  return {
    schema,
    allowed,
    placeholder,
    help: common.help,
    defaultOf: isFunction(given) ? given : () => given,
    defaultText: common.defaultText ?? (isFunction(given) ? '' : text(given)),
  };
}

export function integer(min: number, max: number, common: Common<number>): Setting<number> {
  const schema = z.preprocess(parseNumber, z.int().min(min).max(max));
  return setting(schema, `a whole number from ${min} to ${max}`, '<n>', common, String);
}

/** Bytes. `shape` narrows them further than their bounds do. */
export function size(min: number, max: number, common: Common<number>, shape: SizeShape = anySize): Setting<number> {
  const schema = z.preprocess(parseSize, z.int().min(min).max(max).refine(shape.holds));
  const multiple = shape.name === '' ? '' : `, ${shape.name}`;
  const allowed = `a size from ${formatSize(min)} to ${formatSize(max)}${multiple}, such as 65536, 512mb or 2gb`;
  return setting(schema, allowed, '<size>', common, formatSize);
}

export function text(allowed: string, placeholder: string, common: Common<string>): Setting<string> {
  return setting(z.string().min(1), allowed, placeholder, common, String);
}

export function choice<const Choice extends string>(
  choices: readonly Choice[],
  common: Common<Choice>,
): Setting<Choice> {
  return setting(z.enum(choices), `one of ${choices.join(', ')}`, '<word>', common, String);
}

/** Yes or no. As a flag it stands alone: its presence says yes. */
export function yesNo(common: Common<boolean>): Setting<boolean> {
  const words: Readonly<Record<string, boolean>> = {
    true: true,
    yes: true,
    1: true,
    false: false,
    no: false,
    0: false,
  };
  const schema = z.preprocess((value) => words[String(value)] ?? value, z.boolean());
  return setting(schema, 'true or false', '', common, String);
}

/** An address as others write it: `10.0.0.7:7380`, `node-1.example:7380`, `[fd00::7]:7380`. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

function parseHostPort(written: string): HostPort | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:,[\]]+)):(\d{1,5})$/.exec(written.trim());
  const number = Number(match?.[3]);
  if (match === null || number < 1 || number > 65_535) return null;
  return { host: match[1] ?? (match[2] as string), port: number };
}

/** Addresses of other nodes. From a flag or the environment: one text, separated by commas. */
export function addressList(common: Common<readonly HostPort[]>): Setting<readonly HostPort[]> {
  const address = z
    .string()
    .refine((written) => parseHostPort(written) !== null)
    .transform((written) => parseHostPort(written) as HostPort);
  return setting<readonly HostPort[]>(
    z.preprocess(splitCommas, z.array(address).max(LIST_MAX)),
    `up to ${LIST_MAX} addresses host:port, separated by commas (in a file: a list of strings)`,
    '<host:port,…>',
    common,
    () => 'none',
  );
}

/** Where a node stands, from the widest tier to the narrowest: `dc=ams,rack=4`. */
export function tiers(common: Common<readonly LocalityTier[]>): Setting<readonly LocalityTier[]> {
  const tier = z
    .string()
    .regex(/^[\w.-]{1,64}=[\w.-]{1,64}$/)
    .transform((written): LocalityTier => {
      const [name, value] = written.split('=') as [string, string];
      return { tier: name, value };
    });
  return setting<readonly LocalityTier[]>(
    z.preprocess(splitCommas, z.array(tier).max(LIST_MAX)),
    `up to ${LIST_MAX} tiers name=value, the widest first, separated by commas (in a file: a list of strings)`,
    '<tier=value,…>',
    common,
    () => 'none',
  );
}

/** A TCP port; 0 takes a free one. */
export function port(common: Common<number>): Setting<number> {
  return { ...integer(0, 65535, common), placeholder: '<port>' };
}

/** The bytes of a key written as text: UTF-8, and \xHH for any byte, \\ for a backslash. */
export function keyFromText(written: string): Buffer {
  const parts = written.split(/(\\x[0-9a-fA-F]{2}|\\\\)/);
  return Buffer.concat(
    parts.map((part, i) => {
      if (i % 2 === 0) return Buffer.from(part, 'utf8');
      return part === '\\\\' ? Buffer.from('\\') : Buffer.from([Number.parseInt(part.slice(2), 16)]);
    }),
  );
}

function sortedKeys(keys: readonly string[]): string[] {
  const byBytes = new Map(keys.map((written) => [keyFromText(written).toString('latin1'), written]));
  return [...byBytes.keys()].sort().map((bytes) => byBytes.get(bytes) as string);
}

/** Several keys, sorted as bytes, each once. From a flag or the environment: one text, separated by commas. */
export function keyList(common: Common<readonly string[]>): Setting<readonly string[]> {
  const key = z.string().refine((written) => {
    const { length } = keyFromText(written);
    return length >= 1 && length <= limits.keyBytesMax;
  });
  return setting<readonly string[]>(
    z.preprocess(splitCommas, z.array(key).max(KEYS_MAX).transform(sortedKeys)),
    `up to ${KEYS_MAX} keys of 1 to ${limits.keyBytesMax} bytes, separated by commas (in a file: a list of strings); \\xHH is any byte`,
    '<keys>',
    common,
    () => 'none',
  );
}
