// Reads the termination message of a container that has exited (L-473, L-474).
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tailOfLog } from '../pod/log-tail.ts';
import type { ObservedContainer } from '../pod/observation.ts';
import { logStandsIn, maxMessageFileBytes, maxMessageLog, terminationMessageFile } from '../pod/termination-message.ts';
import { AgentError, messageOf, systemCode } from '../std/errors.ts';

/** Room for eighty lines of the length people read; a longer one loses its beginning. */
const logTailBytes = 64 * 1024;

/** The container's own words; empty when it left none. Never rejects: what went wrong becomes the text. */
export async function readTerminationMessage(container: ObservedContainer): Promise<string> {
  const file = terminationMessageFile(container);
  let text = '';
  try {
    text = file === undefined ? '' : (await readEnd(file, maxMessageFileBytes)).bytes.toString('utf8');
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') return `Error on reading termination log ${file}: ${messageOf(error)}`;
  }
  if (!logStandsIn(container, text) || container.logPath === '') return text;
  try {
    const { bytes, isWhole } = await readEnd(container.logPath, logTailBytes);
    return tailOfLog(isWhole ? bytes : bytes.subarray(bytes.indexOf(0x0a) + 1), maxMessageLog);
  } catch (error) {
    return `Error on reading termination message from logs: ${messageOf(error)}`;
  }
}

/** The file was made for the container, which may have put anything in its place: only a regular file is read. */
async function readEnd(path: string, maxBytes: number): Promise<{ readonly bytes: Buffer; readonly isWhole: boolean }> {
  const handle: FileHandle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new AgentError('not-a-file', `${path} is not a regular file`);
    const length = Math.min(stat.size, maxBytes);
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, stat.size - length);
    return { bytes: buffer.subarray(0, bytesRead), isWhole: length === stat.size };
  } finally {
    await handle.close();
  }
}
