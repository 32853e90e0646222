// SPDX-License-Identifier: Apache-2.0
import PrimeVue from 'primevue/config'
import { createApp } from 'vue'
import App from './App.vue'
import { startLanguage } from './i18n'
import './style/tokens.css'
import './style/base.css'

await startLanguage()
createApp(App).use(PrimeVue, { unstyled: true }).mount('#app')
