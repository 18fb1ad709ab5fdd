// Shows the banner, the vehicle that the fragment names, and another one that stays.
import { createApp, h, ref } from 'vue';
import Banner from './Banner.vue';
import Vehicle from './Vehicle.vue';

const id = ref(location.hash.slice(1));
addEventListener('hashchange', () => (id.value = location.hash.slice(1)));
createApp(() => [h(Banner), id.value && h(Vehicle, { id: id.value }), h(Vehicle, { id: 'v2' })]).mount('#root');
