// The UIDs of objects that exist nowhere but in this API: the same for the same object, over restarts too.
import { createHash } from 'node:crypto';

export function uuidOf(what: string): string {
  const hex = createHash('sha256').update(what).digest('hex');
  const variant = ((Number.parseInt(hex.charAt(16), 16) & 3) | 8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
