// What users read of a runtime's errors: the plain description, or the whole text as Go programs print it (L-188).
import type { RuntimeError } from '../std/errors.ts';

/**
 * The error as the kubelet prints it where it does not reduce it: `rpc error: code = NotFound desc = …`. Events about
 * sandboxes carry this text; events about containers carry `error.message` alone (L-188).
 */
export function rpcErrorText(error: RuntimeError): string {
  const name = error.code
    .split('-')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('');
  return `rpc error: code = ${name === 'Cancelled' ? 'Canceled' : name} desc = ${error.message}`;
}
