// Builds the cards into one module whose name carries the hash of what is in it.
// Usage: node build.mjs [FOLDER]      FOLDER: where to put it, and take older ones away (default: the integration's)
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const folder = process.argv[2] ?? join(here, "../custom_components/energy_trade/frontend");
const result = await build({
  absWorkingDir: here,
  entryPoints: ["src/index.ts"],
  bundle: true,
  charset: "utf8",
  format: "esm",
  legalComments: "eof",
  minify: true,
  target: "es2022",
  write: false,
});
const [{ contents }] = result.outputFiles;
const name = `energy-trade.${createHash("sha256").update(contents).digest("hex").slice(0, 12)}.js`;
mkdirSync(folder, { recursive: true });
for (const old of readdirSync(folder)) if (/^energy-trade\..*\.js$/.test(old) && old !== name) rmSync(join(folder, old));
writeFileSync(join(folder, name), contents);
console.log(name);
