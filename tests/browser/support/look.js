// @ts-check
// What a page looks like: in light and dark, on a phone and on a desk, without anything that keeps somebody out.
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import AxeBuilder from '@axe-core/playwright';
import { expect } from '@playwright/test';

const SCREENSHOTS = fileURLToPath(new URL('../../../target/screenshots/', import.meta.url));
const WIDTHS = [360, 1280];

/**
 * Checks a page as it stands, and writes `target/screenshots/<name>-<light|dark>-<width>.png`.
 * @param {import('@playwright/test').Page} page
 * @param {string} name
 */
export async function look(page, name) {
  await mkdir(SCREENSHOTS, { recursive: true });
  const before = page.viewportSize();
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 800 });
      const label = `${name}-${colorScheme}-${width}`;
      // What is drawn to a width, such as a plot, is drawn anew a moment after the window has another one.
      const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      await expect.poll(overflow, `${label}: nothing sticks out at the side`).toBeLessThanOrEqual(0);
      await page.screenshot({ path: `${SCREENSHOTS}${label}.png`, fullPage: true });
      const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
      const grave = violations
        .filter((violation) => violation.impact === 'serious' || violation.impact === 'critical')
        .map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.html).join(' ')}`);
      expect(grave, `${label}: accessible`).toEqual([]);
    }
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
  if (before) await page.setViewportSize(before);
}
