// Shows the banner, the vehicle that the fragment names, and another one that stays.
import { createApp, h } from 'vue';
import Root from './Root.vue';

createApp(() => h(Root)).mount('#root');
