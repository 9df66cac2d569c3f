// The outcome of building a request: the request, or why it cannot be built, in words for the Pod's status.

/** Narrow by `'reason' in result`. */
export type BuildResult<T> = T | BuildFailure;

export interface BuildFailure {
  /** `CreateContainerConfigError`, `FailedCreatePodSandBox`, … */
  readonly reason: string;
  readonly message: string;
}

/** Collects what stands in the way while a request is built; the first entry is the one reported. */
export type Problems = string[];
