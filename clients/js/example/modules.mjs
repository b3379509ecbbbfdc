// React's packages hold CommonJS only. An application has a bundler; this example wraps a file in a module instead.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const NAMES = { 'react.js': 'react', 'react-dom.js': 'react-dom', 'react-dom/client.js': 'react-dom/client', 'scheduler.js': 'scheduler' };

/** @param {string} nodeModules @param {string} path one of `NAMES` */
export async function moduleOf(nodeModules, path) {
  const name = NAMES[/** @type {keyof typeof NAMES} */ (path)];
  if (!name) throw new Error(`${path}: there is no such module`);
  const require = createRequire(join(nodeModules, 'x.js'));
  const entry = await readFile(require.resolve(name), 'utf8');
  // The entry chooses between two builds by an environment variable that browsers do not have.
  const build = /require\('(\.\/cjs\/[^']+\.production(?:\.min)?\.js)'\)/.exec(entry)?.[1];
  if (!build) throw new Error(`${name}: has no build for production`);
  const text = await readFile(join(require.resolve(name), '..', build), 'utf8');
  const needed = [...new Set([...text.matchAll(/\brequire\("([^"]+)"\)/g)].map((match) => match[1]))];
  const imports = needed.map((need, i) => `import needed${i} from '/modules/${need}.js';`).join('\n');
  const table = needed.map((need, i) => `${JSON.stringify(need)}: needed${i}`).join(', ');
  process.env.NODE_ENV = 'production';
  const names = Object.keys(require(name)).filter((key) => /^[A-Za-z]\w*$/.test(key));
  return `${imports}
const module = { exports: {} };
const found = { ${table} };
((module, exports, require, process) => {${text}
})(module, module.exports, (name) => found[name], { env: { NODE_ENV: 'production' } });
export default module.exports;
export const { ${names.join(', ')} } = module.exports;
`;
}
