// What can go wrong with volumes, in words for the Pod's status and events.
import { AgentError, type ErrorOptions, messageOf } from '../std/errors.ts';

export class VolumeError extends AgentError {
  /** Kubernetes' reason: `FailedMount` at set-up, `CreateContainerConfigError` for a container's mounts. */
  readonly reason: 'FailedMount' | 'CreateContainerConfigError';
  /** Set-up only: what is told of each volume that failed. */
  readonly failures: readonly string[];

  constructor(
    code: string,
    message: string,
    options: ErrorOptions & { readonly reason?: VolumeError['reason']; readonly failures?: readonly string[] } = {},
  ) {
    super(code, message, options);
    this.reason = options.reason ?? 'FailedMount';
    this.failures = options.failures ?? [];
  }
}

/** L-310, L-311. */
export function setUpError(failed: readonly { readonly volume: string; readonly cause: unknown }[]): VolumeError {
  const failures = failed.map(({ volume, cause }) => `MountVolume.SetUp failed for volume ${JSON.stringify(volume)} : ${messageOf(cause)}`);
  const names = failed.map(({ volume }) => volume).join(' ');
  const causes = failures.join(', ');
  return new VolumeError('failed-mount', `unmounted volumes=[${names}], unattached volumes=[], failed to process volumes=[]: ${causes}`, {
    cause: failed[0]?.cause,
    failures,
  });
}
