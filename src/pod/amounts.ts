// Quantities as plain numbers in the unit the kernel wants: milli-CPU for `cpu`, whole units for everything else.
import type { Quantity } from '../api/gen/kubernetes.ts';

const suffixes: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

function scaled(quantity: Quantity, scale: number): number {
  const match = /^([+-]?[0-9.]+)(?:([eE][+-]?[0-9]+)|([a-zA-Z]*))$/.exec(quantity);
  const value = Number(`${match?.[1] ?? ''}${match?.[2] ?? ''}`) * (suffixes[match?.[3] ?? ''] ?? Number.NaN) * scale;
  const rounded = Math.round(value);
  return Math.abs(value - rounded) < 1e-6 ? rounded : Math.ceil(value);
}

/** Thousandths, rounded up. */
export function milliUnits(quantity: Quantity): number {
  return scaled(quantity, 1000);
}

/** Whole units, rounded up. */
export function wholeUnits(quantity: Quantity): number {
  return scaled(quantity, 1);
}

/** The unit is that of the resource: thousandths for `cpu`. */
export function amountOf(resource: string, quantity: Quantity): number {
  return resource === 'cpu' ? milliUnits(quantity) : wholeUnits(quantity);
}
