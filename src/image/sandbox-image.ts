// The image a runtime makes sandboxes of. containerd before 1.7 does not pin it, and no container record names it.
import type { CallOptions, Runtime } from '../runtime/runtime.ts';

/** Undefined when the runtime does not tell. Throws a RuntimeError when it cannot be asked. */
export async function sandboxImageOf(runtime: Pick<Runtime, 'status'>, options: CallOptions): Promise<string | undefined> {
  const { info } = await runtime.status({ verbose: true }, options);
  try {
    const config: unknown = JSON.parse(info['config'] ?? '{}');
    const image = typeof config === 'object' && config !== null && 'sandboxImage' in config ? config.sandboxImage : undefined;
    return typeof image === 'string' ? image : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
