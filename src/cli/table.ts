// Columns as kubectl prints them: padded with three blanks to the widest cell, none after the last.

/** `rows` include the header. Each row is one line. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, [...cell].length);
  const lines = rows.map((row) =>
    row.map((cell, i) => (i === row.length - 1 ? cell : cell + ' '.repeat((widths[i] ?? 0) + 3 - [...cell].length))).join(''),
  );
  return lines.map((line) => `${line}\n`).join('');
}
