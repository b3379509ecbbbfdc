// The page of the return URL: tells the page that waits, and closes the window.
import { readRedirectResult } from '@valetkey/client';

const result = readRedirectResult();
if (result?.status === 'error') document.getElementById('status').textContent = result.error;
