// The bundle as bin/pinpod starts it, made first when src/ is newer.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { bundle, bundleIsUpToDate } from '../../scripts/setup/bundle.ts';

const checkout = path.join(import.meta.dirname, '..', '..');

/** Program and first arguments, on the checkout's Node unless another is given. */
export async function bundleProgram(node = path.join(checkout, 'node_modules', '.bin', 'node')): Promise<readonly string[]> {
  if (!bundleIsUpToDate(checkout)) await bundle(checkout);
  const script = readFileSync(path.join(checkout, 'bin', 'pinpod'), 'utf8');
  const flags = /exec "\$node" (?<flags>--.*) "\$bundle"/.exec(script)?.groups?.['flags'];
  if (flags === undefined) throw new Error('bin/pinpod does not start the bundle as expected');
  return [node, ...flags.split(' '), path.join(checkout, 'dist', 'pinpod.cjs')];
}
