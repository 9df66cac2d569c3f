// Quantities as plain numbers in the unit the kernel wants: milli-CPU for `cpu`, whole units for everything else.
import type { Quantity } from '../api/gen/kubernetes.ts';
import { parseQuantity, quantityMilliValue, quantityValue, zeroQuantity } from '../api/quantity.ts';

/** Thousandths, rounded up. What is no quantity counts as 0: validation has refused it before. */
export function milliUnits(quantity: Quantity): number {
  return Number(quantityMilliValue(parseQuantity(String(quantity)) ?? zeroQuantity));
}

/** Whole units, rounded up. */
export function wholeUnits(quantity: Quantity): number {
  return Number(quantityValue(parseQuantity(String(quantity)) ?? zeroQuantity));
}

/** The unit is that of the resource: thousandths for `cpu`. */
export function amountOf(resource: string, quantity: Quantity): number {
  return resource === 'cpu' ? milliUnits(quantity) : wholeUnits(quantity);
}
