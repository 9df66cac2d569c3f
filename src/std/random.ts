/** A source of numbers in [0, 1). */
export interface Random {
  next(): number;
}

export const systemRandom: Random = { next: () => Math.random() };

/** `base` lengthened by up to `factor` of itself: the jitter of Kubernetes' `wait.Jitter`. */
export function jitter(random: Random, base: number, factor: number): number {
  return base * (1 + random.next() * factor);
}
