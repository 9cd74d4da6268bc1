/** Random commands with the arguments at which implementations of Redis's commands tend to differ. */
import type { Prng } from '../../src/core/prng.ts';
import { commandByName } from '../../src/core/kv/table.ts';

type Words = string[];
type Draw = (prng: Prng) => string;

function pick<T>(prng: Prng, from: readonly T[]): T {
  return from[prng.below(from.length)] as T;
}

function words(text: string): Words {
  return text.trim().split(/\s+/);
}

/** Any case, as clients send it. */
function word(prng: Prng, text: string): string {
  return prng.chance(0.3) && /^\w+$/.test(text) ? text.toLowerCase() : text;
}

const KEYS = ['a', 'b', 'c', 'd', 'key:1', 'key:2', '', '\x00\xff', '[x]*'];
const key: Draw = (prng) => pick(prng, prng.chance(0.8) ? KEYS.slice(0, 4) : KEYS);

const INTEGERS = words(`
  0 1 -1 2 3 7 8 9 10 -2 -3 -7 -8 -9 -10 15 16 31 63 64 100 -100 255 256 -128 127 65535 4294967295 4294967296
  2147483647 -2147483648
`);
const WIDE_INTEGERS = words(`
  9007199254740991 9007199254740992 9007199254740993 -9007199254740993 999999999999999 1000000000000000
  9223372036854775806 9223372036854775807 9223372036854775808 -9223372036854775807 -9223372036854775808
  -9223372036854775809 18446744073709551615 99999999999999999999 9223372036854775 -9223372036854775
  922337203685477581
`);
const NO_INTEGERS = ['', '-', '+1', '01', '-0', '00', ' 1', '1 ', '1.0', '1e3', 'abc', '0x10', 'nan', '1\x00', '--1'];
const integer: Draw = (prng) => {
  const kind = prng.next();
  if (kind < 0.7) return pick(prng, INTEGERS);
  if (kind < 0.9) return pick(prng, WIDE_INTEGERS);
  return pick(prng, NO_INTEGERS);
};

const FLOATS = [
  ...words(`
  0 1 -1 0.1 0.2 -0.1 1.5 3.0 3.14159 5.0e3 1e10 1e-5 1e-10 -1e3 .5 5. 10.50 0.000001 100000000
  123456789.123456789 1e17 1e18 1e20 9007199254740993 -0 0x10 0x1p-3 99999999999999999 1e300 -1e300 1e4000
  1e5000 1e-5000 inf -inf Infinity nan +1 +.5e1 1e e1 . 1.2.3 abc 0x 1e+ 1_0 3.3333333333333333333
  0.30000000000000004
`),
  '',
  ' 1',
  '1 ',
  '1\x00',
];
const float: Draw = (prng) => (prng.chance(0.7) ? pick(prng, FLOATS.slice(0, 24)) : pick(prng, FLOATS));

function randomBytes(prng: Prng, lengthMax: number): string {
  const length = prng.below(lengthMax);
  let text = '';
  for (let i = 0; i < length; i++) text += String.fromCharCode(prng.chance(0.4) ? prng.below(256) : 97 + prng.below(3));
  return text;
}

const value: Draw = (prng) => {
  const kind = prng.next();
  if (kind < 0.25) return integer(prng);
  if (kind < 0.35) return float(prng);
  if (kind < 0.4)
    return pick(prng, ['\xff\xff\xff', '\x00\x00\x00\x00', '\x00\x00\x01', '\xff\xff\xfe', '\x80', '\x01']);
  if (kind < 0.45) return 'x'.repeat(prng.below(300));
  return randomBytes(prng, prng.chance(0.2) ? 60 : 8);
};

/** Lengths and offsets, mostly small: a value of a megabyte in every second command would only cost time. */
const offset: Draw = (prng) => {
  const kind = prng.next();
  if (kind < 0.9) return String(prng.below(40) - (prng.chance(0.3) ? 20 : 0));
  if (kind < 0.96) return integer(prng);
  return pick(prng, ['1048575', '1048576', '1048577', '8388607', '8388608', '1048570', '536870911', '4294967296']);
};

const EXPIRIES = ['100', '1000', '5000', '86400', '0', '-1', '-100', '60', '2000000000', 'abc', '', '1.5'];
const farExpiry: Draw = (prng) => {
  const kind = prng.next();
  if (kind < 0.6) return pick(prng, EXPIRIES.slice(0, 4));
  if (kind < 0.85) return pick(prng, EXPIRIES);
  return pick(prng, WIDE_INTEGERS.slice(4));
};
/** Seconds and milliseconds since 1970, ahead and past. */
const seconds: Draw = (prng) =>
  prng.chance(0.8) ? pick(prng, ['3000000000', '3000000001', '2900000000', '1', '100']) : farExpiry(prng);
const milliseconds: Draw = (prng) =>
  prng.chance(0.8)
    ? pick(prng, ['3000000000000', '3000000000499', '3000000000500', '2900000000000', '1'])
    : farExpiry(prng);

/** A relative expiry far from those of every other draw, so that a millisecond more or less decides nothing. */
const expiryOptions = (prng: Prng): Words => {
  const name = pick(prng, ['EX', 'PX', 'EXAT', 'PXAT']);
  const amount = name === 'EXAT' ? seconds(prng) : name === 'PXAT' ? milliseconds(prng) : relative(prng, name === 'PX');
  return prng.chance(0.05) ? [word(prng, name)] : [word(prng, name), amount];
};
function relative(prng: Prng, isMilliseconds: boolean): string {
  const amount = farExpiry(prng);
  // A second may be over before the other side has come as far; a minute is not.
  return isMilliseconds && /^\d{1,4}$/.test(amount) && Number(amount) > 0 ? `${amount}000` : amount;
}

function some(prng: Prng, min: number, max: number, draw: Draw): Words {
  return Array.from({ length: min + prng.below(max - min + 1) }, () => draw(prng));
}

function options(prng: Prng, from: readonly ((prng: Prng) => Words)[]): Words {
  const words: Words = [];
  while (prng.chance(0.5)) words.push(...pick(prng, from)(prng));
  return words;
}

const flag =
  (name: string) =>
  (prng: Prng): Words => [word(prng, name)];
const bitType: Draw = (prng) =>
  prng.chance(0.9)
    ? `${pick(prng, ['u', 'i'])}${pick(prng, ['1', '2', '3', '4', '5', '7', '8', '9', '16', '31', '32', '33', '53', '54', '62', '63'])}`
    : pick(prng, ['i64', 'u64', 'i65', 'u0', 'i0', 'x8', 'u', '8', 'u08', 'u-1', 'I8', 'U8', 'u 8', '', 'u8x']);
const bitFieldOffset: Draw = (prng) =>
  prng.chance(0.85)
    ? `${prng.chance(0.4) ? '#' : ''}${prng.below(70)}`
    : pick(prng, ['-1', '#-1', '#', '', 'x', '#1x', '8388600', '8388608', '#4294967296', '##1', '01', '#01']);

const bitFieldStep = (prng: Prng): Words => {
  const kind = prng.next();
  if (kind < 0.3) return [word(prng, 'GET'), bitType(prng), bitFieldOffset(prng)];
  if (kind < 0.55) return [word(prng, 'SET'), bitType(prng), bitFieldOffset(prng), integer(prng)];
  if (kind < 0.85) return [word(prng, 'INCRBY'), bitType(prng), bitFieldOffset(prng), integer(prng)];
  if (kind < 0.97) return [word(prng, 'OVERFLOW'), word(prng, pick(prng, ['WRAP', 'SAT', 'FAIL', 'sat', 'NONE']))];
  return pick(prng, [['GET'], ['GET', 'u8'], ['SET', 'u8', '0'], ['FOO', 'u8', '0'], ['OVERFLOW']]);
};

const PATTERNS = [
  '*',
  '?',
  'a',
  'key:*',
  'key:?',
  '[a-c]',
  '[^a]',
  '[^a-c]*',
  '\\[x\\]\\*',
  '[',
  'a*',
  '**',
  '*1',
  '[a',
  '[c-a]',
  '\\',
  '',
  '*:*',
  '[^',
];

const shapes: Readonly<Record<string, (prng: Prng) => Words>> = {
  GET: (p) => [key(p)],
  SET: (p) => [
    key(p),
    value(p),
    ...options(p, [flag('NX'), flag('XX'), flag('GET'), flag('KEEPTTL'), expiryOptions, expiryOptions, flag('FOO')]),
  ],
  SETEX: (p) => [key(p), relative(p, false), value(p)],
  PSETEX: (p) => [key(p), relative(p, true), value(p)],
  SETNX: (p) => [key(p), value(p)],
  GETSET: (p) => [key(p), value(p)],
  GETDEL: (p) => [key(p)],
  GETEX: (p) => [key(p), ...options(p, [flag('PERSIST'), expiryOptions, expiryOptions, flag('KEEPTTL')])],
  MGET: (p) => some(p, 1, 4, key),
  MSET: (p) => some(p, 1, 3, key).flatMap((name) => (p.chance(0.98) ? [name, value(p)] : [name])),
  MSETNX: (p) => some(p, 1, 2, key).flatMap((name) => (p.chance(0.98) ? [name, value(p)] : [name])),
  APPEND: (p) => [key(p), value(p)],
  STRLEN: (p) => [key(p)],
  SETRANGE: (p) => [key(p), offset(p), value(p)],
  GETRANGE: (p) => [key(p), offset(p), offset(p)],
  SUBSTR: (p) => [key(p), integer(p), integer(p)],
  LCS: (p) => [
    key(p),
    key(p),
    ...options(p, [
      flag('LEN'),
      flag('IDX'),
      flag('WITHMATCHLEN'),
      (q) => ['MINMATCHLEN', offset(q)],
      flag('MINMATCHLEN'),
    ]),
  ],
  INCR: (p) => [key(p)],
  DECR: (p) => [key(p)],
  INCRBY: (p) => [key(p), integer(p)],
  DECRBY: (p) => [key(p), integer(p)],
  INCRBYFLOAT: (p) => [key(p), float(p)],
  EXPIRE: (p) => [key(p), farExpiry(p), ...conditions(p, ['NX', 'XX', 'FOO'])],
  PEXPIRE: (p) => [key(p), relative(p, true), ...conditions(p, ['NX', 'XX', 'FOO'])],
  EXPIREAT: (p) => [key(p), ...pointInTime(p, seconds, ['3000000000', '2900000000', '100'])],
  PEXPIREAT: (p) => [key(p), ...pointInTime(p, milliseconds, ['3000000000000', '3000000000001', '2900000000000', '1'])],
  TTL: (p) => [key(p)],
  PTTL: (p) => [key(p)],
  EXPIRETIME: (p) => [key(p)],
  PEXPIRETIME: (p) => [key(p)],
  PERSIST: (p) => [key(p)],
  DEL: (p) => some(p, 1, 3, key),
  UNLINK: (p) => some(p, 1, 3, key),
  EXISTS: (p) => some(p, 1, 3, key),
  TOUCH: (p) => some(p, 1, 3, key),
  TYPE: (p) => [key(p)],
  RENAME: (p) => [key(p), key(p)],
  RENAMENX: (p) => [key(p), key(p)],
  COPY: (p) => [
    key(p),
    key(p),
    ...options(p, [flag('REPLACE'), flag('REPLACE'), (q) => ['DB', offset(q)], flag('DB'), () => ['DB', '0']]),
  ],
  KEYS: (p) => [pick(p, PATTERNS)],
  FLUSHALL: (p) => options(p, [flag('ASYNC'), flag('SYNC'), flag('FOO')]),
  FLUSHDB: (p) => options(p, [flag('ASYNC'), flag('SYNC')]),
  SETBIT: (p) => [key(p), offset(p), pick(p, ['0', '1', '0', '1', '2', '-1', 'x', ''])],
  GETBIT: (p) => [key(p), offset(p)],
  BITCOUNT: (p) => [key(p), ...bitRange(p)],
  BITPOS: (p) => [key(p), pick(p, ['0', '1', '0', '1', '2', '-1', 'x']), ...bitRange(p)],
  BITOP: (p) => [word(p, pick(p, ['AND', 'OR', 'XOR', 'NOT', 'FOO'])), key(p), ...some(p, 1, 3, key)],
  BITFIELD: (p) => [key(p), ...Array.from({ length: p.below(4) }, () => bitFieldStep(p)).flat()],
  BITFIELD_RO: (p) => [
    key(p),
    ...Array.from({ length: p.below(3) }, () =>
      p.chance(0.9) ? ['GET', bitType(p), bitFieldOffset(p)] : bitFieldStep(p),
    ).flat(),
  ],
  PING: (p) => options(p, [(q) => [value(q)]]),
  ECHO: (p) => [value(p)],
};

function conditions(prng: Prng, from: readonly string[]): Words {
  const words: Words = [];
  while (prng.chance(0.4)) words.push(word(prng, pick(prng, from)));
  return words;
}

/** With GT and LT only times that both sides keep exactly. */
function pointInTime(prng: Prng, draw: Draw, exact: readonly string[]): Words {
  const words = conditions(prng, ['NX', 'XX', 'GT', 'LT', 'GT', 'LT', 'b\xc3\xa4r', 'a\r\nb', 'c\x00d']);
  return [words.length > 0 ? pick(prng, exact) : draw(prng), ...words];
}

function bitRange(prng: Prng): Words {
  const count = prng.below(5);
  return [offset(prng), offset(prng), word(prng, pick(prng, ['BIT', 'BYTE', 'BIT', 'FOO'])), 'x'].slice(0, count);
}

/** Commands that make the key space small and fresh again are rare; the rest come evenly, values more often. */
const NAMES = [
  ...Object.keys(shapes).filter((name) => !name.startsWith('FLUSH')),
  'SET',
  'SET',
  'SET',
  'APPEND',
  'SETRANGE',
  'BITFIELD',
];

/** One command, name first, with as many arguments as the table allows. */
export function randomCommand(prng: Prng): Words {
  for (;;) {
    const name = prng.chance(0.01) ? pick(prng, ['FLUSHALL', 'FLUSHDB']) : pick(prng, NAMES);
    const words = [name, ...(shapes[name] as (prng: Prng) => Words)(prng)];
    const { arity } = commandByName(name) ?? { arity: 0 };
    if (arity > 0 ? words.length === arity : words.length >= -arity) return words;
  }
}
