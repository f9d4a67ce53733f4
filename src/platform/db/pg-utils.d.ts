/** How the driver makes the text of a parameter; its own queries use it, and its types leave it out. */
declare module 'pg/lib/utils.js' {
  const utils: { prepareValue(value: unknown): unknown };
  // biome-ignore lint/style/noDefaultExport: this is how the driver exports it
  export default utils;
}
