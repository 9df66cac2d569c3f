// Collects the problems of one Pod in Kubernetes' own words (S-126 … S-128).
import type { Problem } from '../problem.ts';

export class Report {
  readonly problems: Problem[] = [];

  required(field: string, detail = ''): void {
    this.#add(field, 'Required value', detail);
  }

  invalid(field: string, value: unknown, detail: string): void {
    this.#add(field, `Invalid value: ${show(value)}`, detail);
  }

  /** One problem per message, none for a valid value. */
  invalidEach(field: string, value: unknown, details: readonly string[]): void {
    for (const detail of details) this.invalid(field, value, detail);
  }

  /** `supported` is printed in the order given. */
  notSupported(field: string, value: unknown, supported: readonly string[]): void {
    this.#add(field, `Unsupported value: ${show(value)}`, `supported values: ${supported.map((s) => JSON.stringify(s)).join(', ')}`);
  }

  /** Reports a value that is not among the supported ones; says whether it is. */
  oneOf(field: string, value: string, supported: readonly string[]): boolean {
    const isSupported = supported.includes(value);
    if (!isSupported) this.notSupported(field, value, supported);
    return isSupported;
  }

  forbidden(field: string, detail: string): void {
    this.#add(field, 'Forbidden', detail);
  }

  duplicate(field: string, value: unknown): void {
    this.#add(field, `Duplicate value: ${show(value)}`, '');
  }

  notFound(field: string, value: unknown, detail = ''): void {
    this.#add(field, `Not found: ${show(value)}`, detail);
  }

  tooLong(field: string, bytes: number): void {
    this.#add(field, 'Too long', `may not be more than ${bytes} bytes`);
  }

  tooMany(field: string, count: number, most: number): void {
    this.#add(field, `Too many: ${count}`, `must have at most ${most} items`);
  }

  #add(field: string, message: string, detail: string): void {
    this.problems.push({ field, message: detail === '' ? message : `${message}: ${detail}` });
  }
}

/** Long values are cut: a message is for reading. */
function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null';
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}
