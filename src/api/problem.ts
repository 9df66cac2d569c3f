// What is wrong with a manifest, and where: the one form in which decoding, validation and sources report it.

/** Where in a manifest a problem is. Lines and columns count from 1. */
export interface Problem {
  readonly line?: number | undefined;
  readonly column?: number | undefined;
  /** Path in Kubernetes' notation, for example `spec.containers[0].image`; empty for the document as a whole. */
  readonly field: string;
  /** Without the field: `Required value`, `Invalid value: "x": …`. */
  readonly message: string;
}

/** Lines and columns count from 1; a column counts UTF-16 code units, as editors do. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Where a field stands; for one that is missing, where its nearest existing ancestor stands. */
export type Locate = (field: string) => Position | undefined;

/** `field: message`, Kubernetes' own form (S-126). */
export function formatProblem(problem: Problem): string {
  return problem.field === '' ? problem.message : `${problem.field}: ${problem.message}`;
}
