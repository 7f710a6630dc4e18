import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const HERE = dirname(fileURLToPath(import.meta.url));
const PACKAGE_OF = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/;

/** One hash of all that a build is made from; tests/serve/test_explorer_build.py computes it again. */
function sourcesHash(): string {
  const top = ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts"];
  const entries = readdirSync(join(HERE, "src"), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const hash = createHash("sha256");
  for (const path of [...top, ...files.map((file) => file.slice(HERE.length + 1))].sort()) {
    const digest = createHash("sha256").update(readFileSync(join(HERE, path))).digest("hex");
    hash.update(`${digest} ${path}\n`);
  }
  return hash.digest("hex");
}

/** Beside the page: what it was built from, and the licences of the libraries in it. */
function records(): Plugin {
  return {
    name: "records",
    // A library knows where its workers lie on a public host. The page uses none of them, and asks no other host.
    renderChunk: (code) => code.replaceAll(/https:\/\/\w+\.com\//g, "/no-such-place/"),
    generateBundle(_options, bundle) {
      const modules = Object.values(bundle).flatMap((part) => (part.type === "chunk" ? part.moduleIds : []));
      const packages = new Set(modules.flatMap((id) => PACKAGE_OF.exec(id)?.[0] ?? []));
      const texts = [...packages].sort().map(licenceOf);
      this.emitFile({ type: "asset", fileName: "licences.txt", source: texts.join(`\n\n${"=".repeat(80)}\n\n`) });
      this.emitFile({ type: "asset", fileName: "sources.sha256", source: `${sourcesHash()}\n` });
    },
  };
}

function licenceOf(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file && existsSync(join(folder, file)) ? readFileSync(join(folder, file), "utf8").trim() : "";
  return `${name} ${version}, ${license}\n\n${text}`.trim();
}

export default defineConfig({
  base: "./",
  plugins: [records()],
  // For `npm run dev`: a service that runs beside it.
  server: { proxy: { "/v1": process.env.OMNISAGE_SERVICE ?? "http://127.0.0.1:8000" } },
  build: {
    outDir: "../src/omnisage/serve/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1000,
  },
});
