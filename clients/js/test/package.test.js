import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const root = fileURLToPath(new URL('..', import.meta.url));

test('the module is small, and imports nothing', () => {
  const text = readFileSync(`${root}src/index.js`);
  assert.ok(gzipSync(text).length < 6 * 1024, `${gzipSync(text).length} bytes`);
  const code = text.toString().replace(/\/\*.*?\*\/|^\s*\/\/.*$/gms, '');
  assert.doesNotMatch(code, /\bimport\b|\brequire\(|\bfrom '/);
});

test('the hooks import react and the module', () => {
  const text = readFileSync(`${root}src/react.js`, 'utf8');
  const imports = [...text.matchAll(/^import .* from '(.+)';$/gm)].map((match) => match[1]);
  assert.deepEqual(imports, ['react', './index.js']);
});

test('what is published is the library, its types, and what there is to read', () => {
  const [packed] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  assert.deepEqual(packed.files.map((file) => file.path).sort(), [
    'LICENSE',
    'README.md',
    'package.json',
    'src/index.d.ts',
    'src/index.js',
    'src/react.d.ts',
    'src/react.js',
  ]);
});

test('there are no dependencies, and what is exported is there', () => {
  const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
  assert.equal(manifest.dependencies, undefined);
  for (const entry of Object.values(manifest.exports)) {
    for (const path of Object.values(entry)) assert.ok(readFileSync(root + path).length > 0, path);
  }
});
