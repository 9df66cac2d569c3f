// The container hash (L-082, L-083): only name and image count, so any other edit waits for the next restart.
import type { Container } from '../api/gen/kubernetes.ts';

/** Lower-case hex without leading zeros; the same value a kubelet computes. */
export function containerHash(container: Pick<Container, 'name' | 'image'>): string {
  const json = `{"image":${escapeJson(container.image ?? '')},"name":${escapeJson(container.name)}}`;
  return fnv1a32(`([]uint8)[${new TextEncoder().encode(json).join(' ')}]`).toString(16);
}

/** JSON text with what could be taken for HTML escaped as well, and the two line separators. */
function escapeJson(text: string): string {
  return JSON.stringify(text).replace(/[<>&\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** `text` is ASCII. */
function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}
