// Builds and serves the pages of the frameworks whose plugins the documentation does not configure.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [vue(), svelte()],
  resolve: process.env.VITEST ? { conditions: ['browser'] } : {},
  server: {
    proxy: {
      '/socket.io': { target: process.env.LIVE_URL, ws: true },
      '/api': { target: process.env.LIVE_URL },
      '/live': { target: process.env.LIVE_URL, ws: true, rewrite: (path) => path.slice('/live'.length) },
    },
  },
  build: { rolldownOptions: { input: ['vue.html', 'svelte.html'] } },
});
