// What a failed pull means. Runtimes report all but "not found" with one gRPC code and a text, so this is the one
// place that reads texts (runtime notes, section 4).
import { AgentError, messageOf, RuntimeError } from '../std/errors.ts';
import type { PullFailure } from './pull-backoff.ts';

/** Texts of the Go network stack (containerd, CRI-O, cri-dockerd) for a registry that gave no answer. */
const unreachableTexts: readonly RegExp[] = [
  /\bno such host\b/i,
  /\bserver misbehaving\b/i,
  /temporary failure in name resolution/i,
  /\bconnection refused\b/i,
  /\bconnection reset by peer\b/i,
  /\bnetwork is (?:unreachable|down)\b/i,
  /\bno route to host\b/i,
  /\bhost is (?:unreachable|down)\b/i,
  /\bi\/o timeout\b/i,
  /\bconnection timed out\b/i,
  /\bTLS handshake timeout\b/i,
  /\btimeout awaiting response headers\b/i,
  /\bClient\.Timeout exceeded\b/i,
  /\bdial tcp\b.*\bcontext deadline exceeded\b/i,
];
/** Any of these proves that a registry answered, whatever else the text says. */
const answeredTexts: readonly RegExp[] = [
  /\bunauthorized\b/i,
  /\bauthorization failed\b/i,
  /\bforbidden\b/i,
  /\bdenied\b/i,
  /\bnot found\b/i,
  /\bunexpected status\b/i,
  /\bx509:/i,
];

/** True when no registry answered: no name, no route, refused, timed out, or the runtime gave up a pull that stood still. */
export function isUnreachable(error: unknown): boolean {
  if (error instanceof RuntimeError) {
    if (error.code === 'not-found' || error.code === 'unavailable') return false;
    // Nobody here cancelled it: it was the runtime's own deadline for progress.
    if (error.code === 'cancelled') return true;
  }
  const text = messageOf(error);
  return unreachableTexts.some((pattern) => pattern.test(text)) && !answeredTexts.some((pattern) => pattern.test(text));
}

/** The reason and message of a container that waits for this pull (L-351, L-352). */
export function pullFailure(image: string, error: unknown): PullFailure {
  const message = messageOf(error);
  const bare = message.replace(/^rpc error: code = \w+ desc = /, '');
  for (const { reason, words } of prefixes) {
    if (!bare.startsWith(reason)) continue;
    return {
      reason,
      message: `image pull failed for ${image} because ${words}${bare.slice(reason.length)}`,
      unreachable: reason === 'RegistryUnavailable',
    };
  }
  return { reason: 'ErrImagePull', message, unreachable: isUnreachable(error) };
}

const prefixes = [
  { reason: 'RegistryUnavailable', words: 'the registry is unavailable' },
  { reason: 'SignatureValidationFailed', words: 'the signature validation failed' },
] as const;

/** More pulls than `registryPullQPS` allows (L-358). */
export class PullRateExceeded extends AgentError {
  constructor() {
    super('pull-rate-exceeded', 'pull QPS exceeded');
  }
}
