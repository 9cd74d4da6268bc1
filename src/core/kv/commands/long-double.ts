/**
 * The x87 extended double ("long double" where Redis usually runs) in integers: INCRBYFLOAT then gives the digits that Redis
 * gives, and the same ones on every machine. 64 bits of mantissa, exponents as in the hardware, round to nearest, ties to even.
 */

/** ± mantissa × 2^exponent; mantissa < 2^64. */
export interface LongDouble {
  readonly isNegative: boolean;
  readonly mantissa: bigint;
  /** Infinity: the value is infinite. */
  readonly exponent: number;
}

const MANTISSA_BITS = 64;
/** Of the smallest number above 0. */
const EXPONENT_MIN = -16445;
/** 2^16384 is too large. */
const TOP_BIT_MAX = 16384;
/** Redis's buffer for the text of one (MAX_LONG_DOUBLE_CHARS). */
const TEXT_LENGTH_MAX = 5 * 1024 - 1;

const DECIMAL = /^([+-]?)(\d*)(?:\.(\d*))?(?:e([+-]?\d+))?$/i;
const HEXADECIMAL = /^([+-]?)0x([\da-f]*)(?:\.([\da-f]*))?(?:p([+-]?\d+))?$/i;
const INFINITE = /^([+-]?)inf(?:inity)?$/i;

function bitLength(value: bigint): number {
  if (value === 0n) return 0;
  const digits = value.toString(16);
  return digits.length * 4 - Math.clz32(Number.parseInt(digits.charAt(0), 16)) + 28;
}

/** value × 2^exponent, rounded; `isInexact`: a little more than that. */
function round(isNegative: boolean, value: bigint, exponent: number, isInexact: boolean): LongDouble {
  const excess = Math.max(bitLength(value) - MANTISSA_BITS, EXPONENT_MIN - exponent, 0);
  let mantissa = value >> BigInt(excess);
  if (excess > 0) {
    const cut = value - (mantissa << BigInt(excess));
    const half = 1n << BigInt(excess - 1);
    if (cut > half || (cut === half && (isInexact || (mantissa & 1n) === 1n))) mantissa++;
  }
  const rounded = { isNegative, mantissa, exponent: exponent + excess };
  return bitLength(mantissa) + rounded.exponent > TOP_BIT_MAX ? { ...rounded, exponent: Infinity } : rounded;
}

/** numerator / denominator, rounded. */
function divide(isNegative: boolean, numerator: bigint, denominator: bigint): LongDouble {
  const shift = Math.max(0, MANTISSA_BITS + 2 + bitLength(denominator) - bitLength(numerator));
  const scaled = numerator << BigInt(shift);
  const quotient = scaled / denominator;
  return round(isNegative, quotient, -shift, quotient * denominator !== scaled);
}

/**
 * The number in `text` as C's strtold reads it where Redis accepts it: decimal, hexadecimal or infinite, nothing before or
 * behind it, and neither too large nor too small. Null otherwise.
 */
export function parseLongDouble(text: string): LongDouble | null {
  if (text.length > TEXT_LENGTH_MAX) return null;
  const infinite = INFINITE.exec(text);
  if (infinite !== null) return { isNegative: infinite[1] === '-', mantissa: 1n, exponent: Infinity };
  const decimal = DECIMAL.exec(text);
  const match = decimal ?? HEXADECIMAL.exec(text);
  if (match === null) return null;
  const [, sign, whole = '', fraction = '', power = '0'] = match;
  const digits = whole + fraction;
  if (digits === '') return null;
  const isNegative = sign === '-';
  const integer = BigInt(decimal === null ? `0x${digits}` : digits);
  if (integer === 0n) return { isNegative, mantissa: 0n, exponent: 0 };
  // Beyond these no digits that fit into a text bring the number back into range.
  const exponent = Math.max(-60_000, Math.min(60_000, Number(power)));
  let value: LongDouble;
  if (decimal === null) {
    value = round(isNegative, integer, exponent - 4 * fraction.length, false);
  } else {
    const tens = exponent - fraction.length;
    const scale = 10n ** BigInt(Math.abs(tens));
    value = tens >= 0 ? round(isNegative, integer * scale, 0, false) : divide(isNegative, integer, scale);
  }
  return value.exponent === Infinity || value.mantissa === 0n ? null : value;
}

/** left + right; null when that is infinite or no number. */
export function addLongDoubles(left: LongDouble, right: LongDouble): LongDouble | null {
  if (left.exponent === Infinity || right.exponent === Infinity) return null;
  const exponent = Math.min(left.exponent, right.exponent);
  const [a, b] = [left, right].map(({ isNegative, mantissa, exponent: own }) => {
    const aligned = mantissa << BigInt(own - exponent);
    return isNegative ? -aligned : aligned;
  }) as [bigint, bigint];
  const sum = a + b;
  const value = round(sum < 0n, sum < 0n ? -sum : sum, exponent, false);
  return value.exponent === Infinity ? null : value;
}

const DECIMALS = 17;

/** As Redis prints it: at most 17 decimals, no exponent, no zeros behind. The value is finite. */
export function formatLongDouble({ isNegative, mantissa, exponent }: LongDouble): string {
  const scaled = mantissa * 10n ** BigInt(DECIMALS);
  let units: bigint;
  if (exponent >= 0) {
    units = scaled << BigInt(exponent);
  } else {
    units = scaled >> BigInt(-exponent);
    const cut = scaled - (units << BigInt(-exponent));
    const half = 1n << BigInt(-exponent - 1);
    if (cut > half || (cut === half && (units & 1n) === 1n)) units++;
  }
  const digits = units.toString().padStart(DECIMALS + 1, '0');
  const text = `${digits.slice(0, -DECIMALS)}.${digits.slice(-DECIMALS)}`.replace(/\.?0+$/, '');
  return isNegative && text !== '0' ? `-${text}` : text;
}
