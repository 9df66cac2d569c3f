// A reporter of Node's test runner that prints nothing but, at the end, what was skipped and why: a skipped test must
// not pass for a passed one.
// biome-ignore lint/style/noDefaultExport: the test runner takes the default export
export default async function* skipped(events) {
  const lines = [];
  for await (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    if (data.skip !== undefined) lines.push(`  ${data.name}: ${data.skip === true ? 'no reason given' : data.skip}`);
  }
  if (lines.length > 0) yield `SKIPPED (${lines.length}):\n${lines.join('\n')}\n`;
}
