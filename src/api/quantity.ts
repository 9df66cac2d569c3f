// Kubernetes quantities (`100m`, `64Mi`, `1e3`), exactly: whole billionths of the unit in a bigint, never a float.
// Canonical text, rounding and limits are those of Kubernetes' resource.Quantity.

export type QuantityFormat = 'DecimalSI' | 'BinarySI' | 'DecimalExponent';

/** A parsed quantity. `nano` is its value in 10⁻⁹ of the unit, the finest step Kubernetes knows. */
export interface Amount {
  readonly nano: bigint;
  /** How it was written, which decides how it is printed. */
  readonly format: QuantityFormat;
}

const nanoPerUnit = 1_000_000_000n;
/** Kubernetes caps every quantity at the largest signed 64-bit number of units. */
const maxNano = ((1n << 63n) - 1n) * nanoPerUnit;

const decimalExponents: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, '': 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const binaryExponents: Readonly<Record<string, number>> = { Ki: 10, Mi: 20, Gi: 30, Ti: 40, Pi: 50, Ei: 60 };
const decimalSuffixes = new Map(Object.entries(decimalExponents).map(([suffix, exponent]) => [exponent, suffix]));
const binarySuffixes = new Map(Object.entries(binaryExponents).map(([suffix, exponent]) => [exponent, suffix]));

const shape = /^([+-]?)(?:(\d+)(?:\.(\d*))?|\.(\d+))([A-Za-z]*)([+-]?\d+)?$/;

/** Longer numbers than anyone writes: refused, so that no manifest can make the agent compute for long. */
const maxLength = 256;

/**
 * Undefined when the text is not a quantity. Digits finer than 10⁻⁹ are rounded away from zero, and values are
 * capped at ±(2⁶³−1), as Kubernetes does.
 */
export function parseQuantity(text: string): Amount | undefined {
  if (text.length > maxLength) return undefined;
  const match = shape.exec(text);
  if (match === null) return undefined;
  const [, sign, whole = '', point, bare, suffix = '', exponentText] = match;
  const fraction = point ?? bare ?? '';
  let format: QuantityFormat;
  let binary = 0;
  let decimal = 0;
  if (exponentText !== undefined) {
    if (suffix !== 'e' && suffix !== 'E') return undefined;
    format = 'DecimalExponent';
    // Anything beyond ±64 is past the cap or below one billionth whatever the digits are, up to the longest text.
    decimal = Math.max(-1000, Math.min(1000, Number(exponentText)));
  } else if (Object.hasOwn(decimalExponents, suffix)) {
    format = 'DecimalSI';
    decimal = decimalExponents[suffix] ?? 0;
  } else if (Object.hasOwn(binaryExponents, suffix)) {
    format = 'BinarySI';
    binary = binaryExponents[suffix] ?? 0;
  } else {
    return undefined;
  }
  const digits = BigInt(`${whole}${fraction}`) << BigInt(binary);
  const scale = decimal - fraction.length + 9;
  const magnitude = scale >= 0 ? digits * 10n ** BigInt(scale) : ceilDivide(digits, 10n ** BigInt(-scale));
  const capped = magnitude > maxNano ? maxNano : magnitude;
  return { nano: sign === '-' ? -capped : capped, format };
}

/** Division of a non-negative number, rounded up. */
function ceilDivide(dividend: bigint, divisor: bigint): bigint {
  return (dividend + divisor - 1n) / divisor;
}

/** A whole number of `step`s, rounded away from zero. */
function roundAway(nano: bigint, step: bigint): bigint {
  const magnitude = nano < 0n ? -nano : nano;
  const rounded = ceilDivide(magnitude, step) * step;
  return nano < 0n ? -rounded : rounded;
}

/**
 * Kubernetes' canonical text: no fraction, the largest suffix that loses nothing. Binary amounts below 1024 print
 * as decimal ones; fractions of a unit in a binary amount round up.
 */
export function formatQuantity(amount: Amount): string {
  const { nano } = amount;
  if (nano === 0n) return '0';
  const isSmall = nano > -1024n * nanoPerUnit && nano < 1024n * nanoPerUnit;
  if (amount.format === 'BinarySI' && !isSmall) {
    let value = roundAway(nano, nanoPerUnit) / nanoPerUnit;
    let exponent = 0;
    while (exponent < 60 && value % 1024n === 0n) {
      value /= 1024n;
      exponent += 10;
    }
    return `${value}${exponent === 0 ? '' : binarySuffixes.get(exponent)}`;
  }
  let value = nano;
  let exponent = -9;
  while (value % 1000n === 0n && exponent < 18) {
    value /= 1000n;
    exponent += 3;
  }
  if (amount.format === 'DecimalExponent') return exponent === 0 ? `${value}` : `${value}e${exponent}`;
  return `${value}${decimalSuffixes.get(exponent)}`;
}

/** The sum prints in the format of the first that is not zero. */
export function addQuantities(a: Amount, b: Amount): Amount {
  return { nano: a.nano + b.nano, format: a.nano === 0n ? b.format : a.format };
}

export function compareQuantities(a: Amount, b: Amount): -1 | 0 | 1 {
  return a.nano < b.nano ? -1 : a.nano > b.nano ? 1 : 0;
}

/** Rounded away from zero to a whole thousandth of the unit (S-115). */
export function roundUpToMilli(amount: Amount): Amount {
  return { nano: roundAway(amount.nano, 1_000_000n), format: amount.format };
}

/** In whole units, rounded away from zero: bytes of memory. */
export function quantityValue(amount: Amount): bigint {
  return roundAway(amount.nano, nanoPerUnit) / nanoPerUnit;
}

/** In thousandths, rounded away from zero: millicores of CPU. */
export function quantityMilliValue(amount: Amount): bigint {
  return roundAway(amount.nano, 1_000_000n) / 1_000_000n;
}

/** Whether it is a whole number of units. */
export function isWholeQuantity(amount: Amount): boolean {
  return amount.nano % nanoPerUnit === 0n;
}

export const zeroQuantity: Amount = { nano: 0n, format: 'DecimalSI' };
