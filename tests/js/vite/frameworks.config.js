// Builds the pages of the frameworks whose plugins the documentation does not configure.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [vue(), svelte()],
  build: { rolldownOptions: { input: ['vue.html', 'svelte.html'] } },
});
