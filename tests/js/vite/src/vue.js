// Shows the banner, the vehicle that the fragment names, and another one that stays.
import { createApp, h } from 'vue';
import Page from './Page.vue';

createApp(() => h(Page)).mount('#root');
