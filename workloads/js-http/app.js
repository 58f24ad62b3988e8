// Answers requests as JSON: what was asked, and what came with it in capitals.

addEventListener('fetch', (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const { pathname } = new URL(request.url);
  const said = (await request.text()).toUpperCase();
  const body = JSON.stringify({ method: request.method, path: pathname, said });
  return new Response(body, { headers: { 'content-type': 'application/json' } });
}
