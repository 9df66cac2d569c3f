import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError, messagesOf } from './errors.ts';

test('a failure is told with its causes, none of them twice', () => {
  const root = new Error('ENOENT: no such file');
  const middle = new AgentError('state', 'state cannot be read (ENOENT: no such file)', { cause: root });
  const rows: [unknown, string][] = [
    [root, 'ENOENT: no such file'],
    [new AgentError('task-failed', 'events failed', { cause: middle }), 'events failed: state cannot be read (ENOENT: no such file)'],
    [new AgentError('task-failed', 'events failed', { cause: 'odd' }), 'events failed: odd'],
    ['odd', 'odd'],
    [undefined, ''],
  ];
  for (const [error, told] of rows) assert.equal(messagesOf(error), told);
});
