// Builds dist/ from src/: `npm run build`. Both files have @msgpack/msgpack in them.
import { execFileSync } from "node:child_process";
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const here = import.meta.dirname;
const { values } = parseArgs({ options: { out: { type: "string", default: join(here, "dist") } } });
const out = resolve(values.out);
const require = createRequire(import.meta.url);

rmSync(out, { recursive: true, force: true });
for (const [format, extension] of [["esm", "js"], ["cjs", "cjs"]]) {
  await build({
    absWorkingDir: here,
    entryPoints: ["src/index.ts"],
    outfile: join(out, `greenroom.${extension}`),
    format,
    bundle: true,
    minify: true,
    lineLimit: 500, // Node prints the line of an error that nobody catches
    target: "es2022",
    legalComments: "none",
    banner: {
      js: "/* The client of Greenroom (Apache-2.0), with @msgpack/msgpack (see LICENSE-msgpack) */",
    },
    logLevel: "warning",
  });
}
const typescript = dirname(require.resolve("typescript/package.json"));
const declarations = ["--project", here, "--outDir", join(out, "types")];
execFileSync(process.execPath, [join(typescript, "bin", "tsc"), ...declarations], {
  stdio: "inherit",
});
const types = join(out, "types");
for (const name of readdirSync(types)) {
  // Older versions of TypeScript look for the declarations of a .js file only.
  const text = readFileSync(join(types, name), "utf8");
  writeFileSync(join(types, name), text.replaceAll(/ from "(\.\/[-\w]+)\.ts"/g, ' from "$1.js"'));
}
const msgpack = dirname(require.resolve("@msgpack/msgpack/package.json"));
copyFileSync(join(msgpack, "LICENSE"), join(out, "LICENSE-msgpack"));
