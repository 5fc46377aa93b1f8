// Responsible for what a load of a page costs: bytes, the first paint, and how far things moved.

const SETTLE_MS = 500;

/** Loads the page at an address, with nothing kept from before. */
export async function cost(page, address) {
  const client = await page.context().newCDPSession(page);
  await client.send('Network.enable');
  await client.send('Network.setCacheDisabled', { cacheDisabled: true });
  let bytes = 0;
  client.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength));
  await page.goto(address, { waitUntil: 'networkidle' });
  const seen = await page.evaluate(async (settle) => {
    let shift = 0;
    const observer = new PerformanceObserver((list) => list.getEntries().forEach(({ value }) => (shift += value)));
    observer.observe({ type: 'layout-shift', buffered: true });
    await new Promise((resolve) => setTimeout(resolve, settle));
    const [paint] = performance.getEntriesByName('first-contentful-paint');
    return { shift, paint: paint?.startTime };
  }, SETTLE_MS);
  await client.detach();
  return { bytes, ...seen };
}
